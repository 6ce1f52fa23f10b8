//! Lines that are typed, pasted and piped, on a terminal that shows what real ones show.

use super::*;

/// A terminal that knows CR, LF and backspace, and wraps at its last column.
struct Screen {
    rows: Vec<Vec<char>>,
    column: usize,
    columns: usize,
}

impl Screen {
    fn show(&mut self, bytes: &[u8]) {
        for letter in std::str::from_utf8(bytes).unwrap().chars() {
            match letter {
                '\r' => self.column = 0,
                '\n' => self.rows.push(Vec::new()),
                '\u{8}' => self.column = self.column.checked_sub(1).expect("not back beyond the row"),
                '\u{7}' => {}
                letter => {
                    assert!(!letter.is_control(), "{letter:?}");
                    if self.column == self.columns {
                        self.rows.push(Vec::new());
                        self.column = 0;
                    }
                    let row = self.rows.last_mut().unwrap();
                    row.resize(row.len().max(self.column + 1), ' ');
                    row[self.column] = letter;
                    self.column += 1;
                }
            }
        }
    }

    fn row(&self) -> String {
        self.rows.last().unwrap().iter().collect::<String>().trim_end().to_owned()
    }
}

fn editor(terminal: bool, kind: Kind) -> Editor {
    let mut editor = if terminal { Editor::terminal(None) } else { Editor::program() };
    editor.start(kind, "> ");
    editor
}

fn type_in(terminal: bool, kind: Kind, bytes: &[u8]) -> (Vec<Event>, String) {
    let mut editor_1 = editor(terminal, kind);
    let (mut inbox, mut out, mut events) = (Inbox::default(), Vec::new(), Vec::new());
    // Byte by byte and all at once must mean the same.
    for byte in bytes {
        inbox.extend(&[*byte]);
        events.extend(editor_1.take(&mut inbox, &mut out));
    }
    let mut again = editor(terminal, kind);
    inbox.extend(bytes);
    let all: Vec<Event> = std::iter::from_fn(|| again.take(&mut inbox, &mut Vec::new())).collect();
    assert_eq!(all, events);
    (events, String::from_utf8(out).unwrap())
}

fn line(text: &str) -> Event {
    Event::Line(text.as_bytes().to_vec())
}

#[test]
fn a_program_keeps_every_byte() {
    let (events, echo) = type_in(false, Kind::Command, b"a\x08\xff?\t\r\n\rb\n");
    assert_eq!(events, [Event::Line(b"a\x08\xff?\t".to_vec()), Event::Line(b"\rb".to_vec())]);
    assert_eq!(echo, "");
}

#[test]
fn backspace_takes_a_whole_letter() {
    let (events, echo) = type_in(true, Kind::Command, "\u{7f}aü\u{7f}\u{8}b€\r".as_bytes());
    assert_eq!(events, [line("b€")]);
    assert_eq!(echo, "aü\x08 \x08\x08 \x08b€\r\n");
}

#[test]
fn a_line_is_edited() {
    for (typed, wanted) in [
        ("bcd\x01a\r", "abcd"),
        ("ac\x02b\x05d\r", "abcd"),
        ("ab\x1b[D\x1b[D\x1b[3~x\r", "xb"),
        ("ab\x02\x04\x04c\r", "ac"),
        ("one two  \x17three\r", "one three"),
        ("one two three\x1b[D\x1b[D\x17\r", "one two ee"),
        ("ab\x02\x02\x06\x0bc\r", "ac"),
        ("abc\x02\x15d\r", "dc"),
        ("ü€\x02ö\x01ä\x06\x7f\r", "äö€"),
        ("a\x0cb\r", "ab"),
    ] {
        assert_eq!(type_in(true, Kind::Answer, typed.as_bytes()).0, [line(wanted)], "{typed:?}");
        assert_eq!(type_in(true, Kind::Secret, typed.as_bytes()).0, [line(wanted)], "{typed:?}");
    }
}

#[test]
fn what_the_terminal_shows_is_what_the_line_is() {
    let mut seed = 7_u64;
    let mut next = move |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };
    let keys = ["\x1b[D", "\x06", "\x01", "\x05", "\x7f", "\x1b[3~", "\x17", "\x15", "\x0b", "\x0c"];
    for round in 0..120 {
        let columns = 40 + (round % 60) as usize;
        let mut editor = Editor::terminal(Some(columns));
        editor.start(Kind::Answer, "prompt> ");
        let mut screen = Screen { rows: vec![Vec::new()], column: 0, columns };
        screen.show(b"prompt> ");
        let mut inbox = Inbox::default();
        for _ in 0..120 {
            // Mostly letters, in runs, and killing whole lines seldom.
            match next(12) {
                0..=8 => (0..next(20)).for_each(|_| {
                    inbox.extend(["a", "ü", " ", "x€"][next(4) as usize].as_bytes());
                }),
                _ => {
                    let most = if next(6) == 0 { 10 } else { 6 };
                    inbox.extend(keys[next(most) as usize].as_bytes());
                }
            }
            let mut out = Vec::new();
            assert_eq!(editor.take(&mut inbox, &mut out), None);
            screen.show(&out);
            let typed = editor.typed().unwrap();
            let (text, before) = (typed.text().to_owned(), typed.before().chars().count());
            let row = screen.row();
            if text.chars().count() + 9 <= columns {
                assert_eq!(row, format!("prompt> {text}").trim_end(), "{columns} columns");
                assert_eq!(screen.column, 8 + before, "{columns} columns");
            } else {
                // A part of it, or its end: the letters at the cursor are there.
                let left: Vec<char> = text.chars().take(before).collect();
                let tail: String = left.iter().rev().take(3).rev().collect();
                let rows = screen.rows.len().saturating_sub(30);
                let shown: String = screen.rows[rows..].concat().iter().collect();
                assert!(shown.contains(tail.trim_end_matches(' ')), "{shown:?} {tail:?}");
                assert!(screen.column <= columns);
            }
        }
    }
}

#[test]
fn a_long_line_is_echoed_once() {
    let long = "x".repeat(300);
    let (events, echo) = type_in(true, Kind::Command, format!("{long}\r").as_bytes());
    assert_eq!((events, echo), (vec![line(&long)], format!("{long}\r\n")));
}

#[test]
fn a_password_is_not_echoed() {
    let (events, echo) = type_in(true, Kind::Secret, "geh\u{7f}heim? ü\x01\x06\x0c\x05\r".as_bytes());
    assert_eq!(events, [line("geheim? ü")]);
    assert_eq!(echo, "\r\n> \r\n");
}

#[test]
fn a_line_with_noise_in_it_is_no_line() {
    for kind in [Kind::Command, Kind::Answer, Kind::Secret] {
        for noise in [&b"a\x00b\r"[..], b"a\xffb\r", b"ab\xc3\r", b"ab\x1f\r"] {
            assert_eq!(type_in(true, kind, noise).0, [Event::Noise], "{noise:x?}");
        }
        // Before the line has begun, and in what was taken back.
        let (events, _) = type_in(true, kind, b"\x00\xff\r\x00ab\ra\xff\x15b\rx\xff\x7f\xffy\r");
        assert_eq!(events, [line(""), line("ab"), line("b"), line("y")]);
        // Flow control is none.
        assert_eq!(type_in(true, kind, b"a\x11b\x13c\r").0, [line("abc")]);
    }
    let all: Vec<u8> = (0..=255).cycle().take(4096).collect();
    type_in(true, Kind::Command, &all);
    type_in(false, Kind::Command, &all);
}

#[test]
fn a_line_has_an_end_and_is_not_taken_in_part() {
    let mut long = vec![b'x'; LINE_BYTES_MAX + 10];
    long.extend_from_slice(b"\nshort\n");
    assert_eq!(type_in(false, Kind::Command, &long).0, [Event::TooLong, line("short")]);
    let (events, echo) = type_in(true, Kind::Command, &long);
    assert_eq!(events, [Event::TooLong, line("short")]);
    assert_eq!(echo.matches('\x07').count(), 10);
    assert_eq!(type_in(true, Kind::Command, b"ab\x18cd\nef\n").0, [Event::Lost, line("ef")]);
}

#[test]
fn interrupt_and_end() {
    let (events, _) = type_in(true, Kind::Command, b"abc\x03d\x04\r\x04");
    assert_eq!(events, [Event::Interrupt, line("d"), Event::End]);
}

#[test]
fn commands_are_found_again_and_answers_are_not() {
    let mut editor = editor(true, Kind::Command);
    editor.remember("first");
    editor.remember("second");
    let mut ask = |kind, bytes: &[u8]| {
        editor.start(kind, "> ");
        let (mut inbox, mut out) = (Inbox::default(), Vec::new());
        inbox.extend(bytes);
        editor.take(&mut inbox, &mut out)
    };
    assert_eq!(ask(Kind::Command, b"\x1b[A\x10\r"), Some(line("first")));
    assert_eq!(ask(Kind::Command, b"draft\x1b[A\x1b[A\x1b[B\x0e!\r"), Some(line("draft!")));
    assert_eq!(ask(Kind::Answer, b"\x1b[A\r"), Some(line("")));
    assert_eq!(ask(Kind::Secret, b"\x1b[A\r"), Some(line("")));
    editor.forget();
    let (mut inbox, mut out) = (Inbox::default(), Vec::new());
    editor.start(Kind::Command, "> ");
    inbox.extend(b"\x1b[A\r");
    assert_eq!(editor.take(&mut inbox, &mut out), Some(line("")));
}
