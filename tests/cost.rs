//! What a delivery costs the medium: bytes and flushes, as the block layer counts them on a loop device, where the machine has one.
//!
//! Incompressible messages of 4 KiB: at most 8.7 KiB and one flush each on one connection. Where a flush takes 5 ms, at most 5.3 KiB
//! and a quarter of a flush each on ten.

mod server;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Command;

use server::{ANNA, BEN, Folder, POSTFACH, Server, run, text, try_run};

/// A loop device over a file, detached when the test ends.
struct Loop {
    device: PathBuf,
    _folder: Folder,
}

impl Loop {
    fn new(size: u64) -> Option<Loop> {
        let folder = Folder::new();
        let image = folder.0.join("disk");
        std::fs::File::create(&image).and_then(|file| file.set_len(size)).expect("a file");
        for words in [&["--find", "--show", "--direct-io=on"][..], &["--find", "--show"]] {
            let output = try_run(Command::new("losetup").args(words).arg(&image), b"");
            if output.status.success() {
                let device = PathBuf::from(text(&output.stdout).trim());
                return Some(Loop { device, _folder: folder });
            }
        }
        None
    }

    /// Bytes written and flushes so far.
    fn counts(&self) -> (u64, u64) {
        let name = self.device.file_name().expect("a name").to_string_lossy().into_owned();
        let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat")).expect("is counted");
        let fields: Vec<u64> = stat.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        (fields[6] * 512, fields[15])
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

/// Exactly 4096 bytes that no compression makes smaller, in lines.
fn noise(seed: &mut u64) -> Vec<u8> {
    let mut message = b"Subject: noise\r\n\r\n".to_vec();
    while message.len() < 4094 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let byte = 0x21 + (*seed >> 32) as u8 % 0x5e;
        if message.len() % 76 == 75 && message.len() < 4090 {
            message.extend_from_slice(b"\r\n");
        }
        message.push(if byte == b'.' { b'-' } else { byte });
    }
    message.truncate(4094);
    message.extend_from_slice(b"\r\n");
    message
}

fn deliver(stream: std::net::TcpStream, count: usize, mut seed: u64) {
    let mut writer = stream.try_clone().expect("clones");
    let mut lines = BufReader::new(stream).lines();
    let mut line = || lines.next().expect("a line").expect("reads");
    line();
    writer.write_all(b"LHLO bench.example\r\n").expect("sends");
    while !line().starts_with("250 ") {}
    for number in 0..count {
        let to = if number % 2 == 0 { ANNA } else { BEN };
        let head = format!("MAIL FROM:<sender@bench.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
        writer.write_all(&[head.as_bytes(), &noise(&mut seed), b".\r\n"].concat()).expect("sends");
        for wanted in ["250 ", "250 ", "354 ", "250 "] {
            let line = line();
            assert!(line.starts_with(wanted), "{line}");
        }
    }
}

/// KiB and flushes per message.
fn measure(connections: usize, each: usize, options: &[&str]) -> Option<(f64, f64)> {
    let disk = Loop::new(512 << 20)?;
    run(Command::new(POSTFACH).args(["format", "--size", "512M", "--store"]).arg(&disk.device), b"");
    let server = Server::serve_store(Folder::new(), disk.device.clone(), &[], options);
    deliver(server.connect(24), 5, 1);
    let before = disk.counts();
    let threads: Vec<_> = (0..connections)
        .map(|client| {
            let stream = server.connect(24);
            std::thread::spawn(move || deliver(stream, each, client as u64 + 77))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("delivers"));
    let after = disk.counts();
    drop(server);
    let messages = (connections * each) as f64;
    Some(((after.0 - before.0) as f64 / 1024.0 / messages, (after.1 - before.1) as f64 / messages))
}

#[test]
fn a_delivery_costs_no_more_than_its_blocks_and_one_flush() {
    let Some((bytes, flushes)) = measure(1, 200, &[]) else {
        eprintln!("this machine has no loop device: not measured");
        return;
    };
    eprintln!("one connection: {bytes:.2} KiB and {flushes:.2} flushes per message of 4 KiB");
    assert!(bytes <= 8.7 && flushes <= 1.01, "{bytes} KiB, {flushes} flushes");
    let (bytes, flushes) = measure(10, 60, &["--flush-delay", "5"]).expect("the device was there");
    eprintln!(
        "ten connections, a flush takes 5 ms: {bytes:.2} KiB and {flushes:.3} flushes per message of 4 KiB"
    );
    assert!(bytes <= 5.3 && flushes <= 0.25, "{bytes} KiB, {flushes} flushes");
}
