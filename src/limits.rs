//! Every bound of the program, with its reason. A leaf: it uses no other module.
//!
//! Memory is bounded because every buffer, queue and table has its line here. Sections follow the layers, lowest first.

// ---- device and journal ----

/// The unit of writing, bytes. Flash pages and file-system blocks are 4 KiB; a commit is whole blocks.
pub const BLOCK_BYTES: usize = 4096;
/// Smallest segment, bytes: the largest frame must fit and leave room for others.
pub const SEGMENT_BYTES_MIN: u64 = 256 * 1024;
/// Largest segment, bytes: an SD card's allocation unit.
pub const SEGMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// One piece of a message, bytes: what is received, checked, stored and sent at a time.
pub const PIECE_BYTES: usize = 64 * 1024;
/// Largest payload of a frame, bytes: a piece, or the record of one large change.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// Smallest piece that is worth packing, bytes: one header of a small message.
pub const PACK_BYTES_MIN: usize = 512;
/// Largest change that holds as a whole, bytes of records: to move 250,000 messages at once, or to flag half of a million.
pub const CHANGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of frames that may wait for the disk before pieces are held back: half of them in flight, half gathering.
pub const PENDING_BYTES: usize = 256 * 1024;
/// Segments that only records may take: a full store can still record an expunge.
pub const SEGMENTS_RESERVED_FOR_RECORDS: usize = 1;
/// Segments kept for writing a batch again after a failed flush.
pub const SEGMENTS_RESERVED_FOR_RETRY: usize = 1;
/// Segments that only compaction may take: one to copy into, and one whose header says what is free by now.
pub const SEGMENTS_RESERVED_FOR_COMPACTION: usize = 2;
/// What one step of compaction reads and copies of a segment's frames, bytes: so much, or one frame that is larger, alone (a full piece with its
/// header; the record of a large change, up to [`PAYLOAD_BYTES_MAX`]). What is said again of records is measured (`store::tests::steps`), not
/// bounded: a short record may be about much, as that which flags a range that has been flagged bit by bit since.
pub const COMPACTION_STEP_BYTES: usize = 64 * 1024;
/// A snapshot is written when the log since the last one has this many times its bytes: it adds a 32nd to what is written, at most.
pub const SNAPSHOT_LOG_PARTS: u64 = 32;
/// And not before the log since then is as long as this, bytes: until then its summaries are little to read (0.6 MB in segments of 4 MiB).
pub const SNAPSHOT_LOG_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// One block of parity for so many blocks of a segment: 64 KiB in a row of a segment of 4 MiB can be lost, for 1.7% of what is written.
pub const PARITY_PARTS: u64 = 64;
/// Smallest segment that has parity, bytes: in stores of 64 MiB and more all are as large.
pub const PROTECTED_SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
/// Losses that a report names; further ones are counted.
pub const LOSSES_REPORTED_MAX: usize = 1000;

// ---- store ----

/// Largest message, bytes; the bucket may be smaller. The owner's figure.
pub const MESSAGE_BYTES_MAX: u64 = 50 * 1024 * 1024;
/// Added to a message's charge for its records, bytes.
pub const CHARGE_OVERHEAD_BYTES: u64 = 512;
/// Charges are rounded up to this, bytes.
pub const CHARGE_STEP_BYTES: u64 = 64;
/// Smallest bucket of class S, bytes.
pub const BUCKET_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// Mailboxes of a store: the office has at most two hundred people, and some functions.
pub const ACCOUNTS_MAX: usize = 1000;
/// Domains of a store.
pub const DOMAINS_MAX: usize = 100;
/// Aliases of a store.
pub const ALIASES_MAX: usize = 4000;
/// Folders of one account.
pub const FOLDERS_MAX: usize = 1000;
/// A folder's whole name in UTF-8, bytes.
pub const FOLDER_NAME_BYTES_MAX: usize = 255;
/// All names that one account has subscribed to, bytes: they are copied together, in one frame.
pub const SUBSCRIPTIONS_BYTES_MAX: usize = 32 * 1024;
/// Subscriptions of one account.
pub const SUBSCRIPTIONS_MAX: usize = 1000;
/// Keywords of one account: the bits of `Flags` above the system flags.
pub const KEYWORDS_MAX: usize = 56;
/// A keyword's name, bytes.
pub const KEYWORD_BYTES_MAX: usize = 64;
/// Flag changes that a folder remembers by serial; a view further behind scans the folder.
pub const CHANGES_REMEMBERED: usize = 512;

/// Changes by commands that are remembered and can be taken back.
pub const HISTORY_ENTRIES_MAX: usize = 50;
/// Records that take those changes back: of a whole office's `load`, and some more.
pub const HISTORY_RECORDS_MAX: usize = 10_000;
/// Time servers that the owner may name.
pub const TIME_SERVERS_MAX: usize = 8;
/// Servers for names that the owner may set; a resolver asks no more.
pub const DNS_SERVERS_MAX: usize = 3;

// ---- wire ----

/// An SMTP command line with CRLF, bytes. RFC 5321 §4.5.3.1.4 asks for 512; extensions and AUTH add to it (RFC 4954 §4: 12288).
pub const SMTP_LINE_BYTES_MAX: usize = 12 * 1024;
/// A POP3 command line with CRLF, bytes. RFC 2449 §4 allows 255; AUTH responses may be longer.
pub const POP3_LINE_BYTES_MAX: usize = 2 * 1024;
/// An IMAP command without its literals, bytes (RFC 7162 §4 asks for 8192 at least; clients send long UID sets).
pub const IMAP_LINE_BYTES_MAX: usize = 64 * 1024;
/// All literals of one IMAP command other than APPEND's message, bytes.
pub const IMAP_LITERALS_BYTES_MAX: usize = 64 * 1024;
/// The same two before login, bytes: who has shown no password gets little memory.
pub const IMAP_LOGIN_BYTES_MAX: usize = 8 * 1024;
/// Nesting of parentheses and search keys in an IMAP command.
pub const IMAP_DEPTH_MAX: usize = 32;
/// Ranges of one set of message numbers.
pub const IMAP_RANGES_MAX: usize = 8192;
/// Keys of one SEARCH.
pub const IMAP_SEARCH_KEYS_MAX: usize = 1000;
/// Items of one FETCH.
pub const IMAP_FETCH_ITEMS_MAX: usize = 256;
/// Part numbers of one section: deeper than any structure that is looked into.
pub const IMAP_SECTION_DEPTH_MAX: usize = MIME_DEPTH_MAX + 1;
/// Field names of one HEADER.FIELDS.
pub const IMAP_HEADER_NAMES_MAX: usize = 256;
/// Patterns of one LIST: each is held against every folder.
pub const IMAP_PATTERNS_MAX: usize = 32;
/// Fields of one ID (RFC 2971 §3.3).
pub const IMAP_ID_FIELDS_MAX: usize = 30;
/// Capabilities that one ENABLE names.
pub const IMAP_ENABLE_MAX: usize = 64;
/// Nesting of MIME parts that is looked into; deeper ones are leaves.
pub const MIME_DEPTH_MAX: usize = 50;
/// MIME parts of one message that are looked into; the rest belongs to the last one.
pub const MIME_PARTS_MAX: usize = 1000;
/// A multipart's boundary, bytes. RFC 2046 §5.1.1 allows 70; a line has 998 (RFC 5322 §2.1.1).
pub const BOUNDARY_BYTES_MAX: usize = 998;
/// Bytes of one header field that are understood; the rest of it is stored but not looked into.
pub const HEADER_FIELD_BYTES_MAX: usize = 32 * 1024;
/// A message's structure as stored, bytes: must fit a frame.
pub const STRUCTURE_BYTES_MAX: usize = 96 * 1024;
/// Addresses of one header field that the envelope tells.
pub const ENVELOPE_ADDRESSES_MAX: usize = 1000;
/// Hops after which a message is refused as looping (RFC 5321 §6.3 asks for at least 100).
pub const RECEIVED_MAX: usize = 100;

// ---- session ----

/// Recipients of one SMTP transaction (RFC 5321 §4.5.3.1.8 asks for at least 100).
pub const RECIPIENTS_MAX: usize = 100;
/// Wrong passwords on one connection before it is closed.
pub const LOGIN_FAILURES_MAX: u32 = 3;
/// Delay of the answer to a wrong password, seconds.
pub const LOGIN_FAILURE_SECONDS: u32 = 2;
/// Errors of a peer on one connection before it is closed; in IMAP, whose connections live for weeks, errors in a row.
pub const PEER_ERRORS_MAX: u32 = 20;
/// What a session may gather for sending before it must let serve send, bytes.
pub const OUT_BYTES: usize = 32 * 1024;
/// Silence before login, seconds, on protocols whose RFC sets no minimum there.
pub const LOGIN_SECONDS: u32 = 60;
/// Silence of an SMTP peer, seconds (RFC 5321 §4.5.3.2.7: at least 5 minutes).
pub const SMTP_IDLE_SECONDS: u32 = 300;
/// Silence of a POP3 client, seconds (RFC 1939 §3: at least 10 minutes).
pub const POP3_IDLE_SECONDS: u32 = 600;
/// Silence of an IMAP client, seconds (RFC 3501 §5.4: at least 30 minutes).
pub const IMAP_IDLE_SECONDS: u32 = 1860;
/// Silence at the console after login, seconds.
pub const CONSOLE_IDLE_SECONDS: u32 = 900;
/// Longest delay of the answer to a wrong password at the serial console, seconds; it doubles up to this.
pub const CONSOLE_FAILURE_SECONDS_MAX: u32 = 60;
/// A console line, bytes.
pub const CONSOLE_LINE_BYTES_MAX: usize = 1024;
/// Commands that a console login remembers, lines.
pub const CONSOLE_HISTORY_LINES: usize = 50;
/// What a console lists of the words that may come next; further ones are counted.
pub const CONSOLE_CHOICES_MAX: usize = 40;
/// Columns of a terminal that has not said how many it has.
pub const CONSOLE_COLUMNS: usize = 80;
/// Fewest columns of a terminal: one that says it has fewer is not believed.
pub const CONSOLE_COLUMNS_MIN: usize = 40;

/// Lines from `load` to `end`: every mailbox, alias and domain, and as many lines that say why.
pub const LOAD_LINES_MAX: usize = 10_000;
/// Their bytes.
pub const LOAD_BYTES_MAX: usize = 1024 * 1024;
/// Wrong lines of a `load` that are told; the rest are counted.
pub const LOAD_ERRORS_TOLD: usize = 50;
/// From a change of the network or the certificate until it is taken back, unless it is kept, seconds.
pub const TRIAL_SECONDS: u32 = 90;

/// Messages that one step of FETCH or SEARCH looks at while it holds the store: well under a millisecond.
pub const SCAN_MESSAGES: usize = 1000;

// ---- serve ----

/// What is read from a socket at a time, and the most that waits in an inbox unless a session asks for more, bytes.
pub const READ_BYTES: usize = 16 * 1024;
/// What a serial line's reader holds while a password is hashed or a commit is waited for, bytes: a pasted configuration of 1,000 lines.
pub const SERIAL_RING_BYTES: usize = 256 * 1024;
/// Connections at a time; further ones are told so and closed.
pub const CONNECTIONS_MAX: usize = 6000;
/// Connections at a time from one address: an office behind one NAT has all its phones there.
pub const CONNECTIONS_PER_PEER_MAX: usize = 1000;
/// A TLS handshake, seconds.
pub const HANDSHAKE_SECONDS: u32 = 30;
/// A peer that takes nothing of what is sent to it, seconds.
pub const WRITE_SECONDS: u32 = 120;
/// The same once the server stops, seconds.
pub const LAST_WRITE_SECONDS: u32 = 1;
/// From the last byte sent to a peer until its socket is closed, seconds: it says goodbye first, or loses what it has not read yet.
pub const LINGER_SECONDS: u32 = 2;
/// A peer that answers neither data nor keepalive probes is gone after this, seconds.
pub const DEAD_PEER_SECONDS: u32 = 60;
/// Threads for reads that the page cache cannot answer: enough to keep an SD card's queue busy.
pub const READ_THREADS: usize = 4;
/// Messages that could not be read as they were written and are counted for `status`: each once, so each is remembered.
pub const UNREADABLE_COUNTED_MAX: usize = 1000;
/// Steps that a session may make without waiting before others get their turn.
pub const STEPS_IN_A_ROW: u32 = 64;
/// How long a server that starts waits for a console or another server to let the store go, seconds.
pub const PATIENCE_SECONDS: u64 = 3;
/// Lines of the server's own log that are kept in memory.
pub const LOG_LINES_KEPT: usize = 500;
/// Of each of them, bytes.
pub const LOG_LINE_BYTES_KEPT: usize = 400;
/// The board's program, seconds: a step that takes longer has failed.
pub const BOARD_SECONDS: u32 = 20;
/// A chain of certificates and their key, as PEM, bytes: two of them, old and new, must fit a frame.
pub const CERTIFICATE_BYTES_MAX: usize = 48 * 1024;
/// Between two savings of the time on a machine whose clock is ours, seconds: a block of the medium each.
pub const CLOCK_SAVED_SECONDS: u32 = 3600;
/// From the signal to the end of the process, seconds. The last of them is the journal's.
pub const SHUTDOWN_SECONDS: u32 = 5;
/// Passwords waiting for the one hash at a time; further ones are told to try again.
pub const SECRETS_WAITING_MAX: usize = 256;
/// Logins that are remembered, so that a mail program that comes back every few minutes costs no hash: two for each of two hundred people.
pub const LOGINS_REMEMBERED: usize = 400;
/// After this a remembered login is checked in full again, seconds.
pub const LOGIN_REMEMBERED_SECONDS: u32 = 1800;
/// Memory of one argon2id hash, KiB.
pub const ARGON2_KIB: u32 = 19 * 1024;
/// Most memory of a hash that is brought along by `hash PHC`, KiB: a quarter of the board's.
pub const ARGON2_KIB_MAX: u32 = 64 * 1024;
/// Passes of argon2id.
pub const ARGON2_PASSES: u32 = 2;

/// How long nothing is written before a witness says that all before it was durable: one block of wear each time the log falls idle.
pub const WITNESS_SECONDS: u64 = 10;

/// So much of what has been written, bytes, may be without parity while messages come in, whose memory making it would add to: one of the largest
/// messages. What is more gets it all the same, or who never ends a message could keep parity away.
pub const BARE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// UIDs of each folder that a restore passes over: they may have been given out after the backup, and must never mean something else.
pub const RESTORE_UIDS_SKIPPED: u32 = 1 << 20;
/// And fewer than so many more, at random: the same backup may be restored twice, and what was given out in between is not known either.
pub const RESTORE_UIDS_MORE: u64 = 1 << 22;
/// Mod-sequences that a restore passes over, for the same reason.
pub const RESTORE_SERIALS_SKIPPED: u64 = 1 << 32;
/// And fewer than so many more: as many as a hundred restores, one of the other, have room for in 40 bits.
pub const RESTORE_SERIALS_MORE: u64 = 1 << 34;
/// UIDVALIDITY values that a restore passes over: of folders made after the backup.
pub const RESTORE_UIDVALIDITIES_SKIPPED: u32 = 1 << 16;
/// And fewer than so many more.
pub const RESTORE_UIDVALIDITIES_MORE: u64 = 1 << 20;

const _: () = assert!(SEGMENT_BYTES_MIN as usize >= PAYLOAD_BYTES_MAX + 2 * BLOCK_BYTES);
const _: () = assert!(PAYLOAD_BYTES_MAX >= PIECE_BYTES && PAYLOAD_BYTES_MAX >= STRUCTURE_BYTES_MAX);
const _: () = assert!(PENDING_BYTES >= 4 * PIECE_BYTES && PACK_BYTES_MIN < PIECE_BYTES);
const _: () = assert!(MESSAGE_BYTES_MAX / (PIECE_BYTES as u64) < u16::MAX as u64);
const _: () = assert!(2 * LAST_WRITE_SECONDS + LINGER_SECONDS < SHUTDOWN_SECONDS);
const _: () = assert!(IMAP_LINE_BYTES_MAX >= 8192 && READ_BYTES >= SMTP_LINE_BYTES_MAX);
