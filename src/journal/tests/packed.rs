//! Packed pieces on a device: read alone, never wrong bytes, and damage is told as damage.

use std::io;
use std::sync::Mutex;

use super::*;
use crate::limits::PIECE_BYTES;

const BODY: BodyId = BodyId(5);

/// Notes what is read: offset and length.
struct Noting<'a>(&'a Memory, Mutex<Vec<(u64, usize)>>);

impl Device for Noting<'_> {
    below!(0: size write_at flush discard prepare forget_cache);

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.1.lock().unwrap().push((offset, buf.len()));
        self.0.read_at(offset, buf)
    }
}

/// Text that differs from line to line.
fn text(piece: u16) -> Vec<u8> {
    let lines =
        (0..).map(|line| format!("{line}: what piece {piece} says about {} of {}\r\n", line * 7, line % 13));
    lines.flat_map(String::into_bytes).take(PIECE_BYTES).collect()
}

/// A store with one message of text, of which the last piece is one that does not shrink.
fn message(pieces: u16) -> (Arc<Memory>, Vec<Vec<u8>>) {
    let device = Arc::new(store_of(12, 256 << 10, 1));
    let mut journal = open(device.clone(), 1).journal;
    let mut plain: Vec<Vec<u8>> = (1..pieces).map(text).collect();
    plain.push(vec![0; 5000]);
    Random(3).fill(plain.last_mut().unwrap());
    for (piece, bytes) in plain.iter().enumerate() {
        journal.append_body(ANNA, BODY, piece as u16, Payload::pack(bytes.clone())).unwrap();
    }
    journal.append_record(ANNA, Serial(1), b"the message".to_vec()).unwrap();
    commit(&mut journal);
    journal.append_record(ANNA, Serial(2), b"what is before was durable".to_vec()).unwrap();
    commit(&mut journal);
    (device, plain)
}

#[test]
fn a_piece_is_read_alone_and_reads_less_than_it_gives() {
    let (device, plain) = message(6);
    assert!(!verify(device.as_ref()).unwrap().is_damaged());
    let journal = open(device.clone(), 2).journal;
    let noting = Noting(&device, Mutex::default());
    let mut buf = Vec::new();
    for (piece, bytes) in plain.iter().enumerate().rev() {
        let extent = journal.find(BODY, piece as u16).unwrap();
        extent.read(&noting, &mut buf).unwrap();
        assert_eq!(&buf, bytes);
        let stored = extent.payload_bytes();
        assert!(if bytes.len() == PIECE_BYTES { stored < PIECE_BYTES / 2 } else { stored == bytes.len() });
        let offset = extent.slot.offset();
        let reads = std::mem::take(&mut *noting.1.lock().unwrap());
        assert_eq!(reads, [(offset, frame::HEADER_BYTES), (offset + frame::HEADER_BYTES as u64, stored)]);
    }
}

#[test]
fn a_changed_byte_of_a_packed_piece_is_damage() {
    let (device, plain) = message(3);
    let journal = open(device.clone(), 2).journal;
    let extent = journal.find(BODY, 1).unwrap();
    let place = extent.slot.offset();
    let mut buf = Vec::new();
    let mut random = Random(4);
    let places: Vec<u64> = (0..200).map(|_| 64 + random.below(extent.payload_bytes() as u64)).collect();
    for at in (0..110).chain(places) {
        let spoilt = device.copy();
        let mut byte = [0];
        spoilt.read_at(place + at, &mut byte).unwrap();
        byte[0] ^= 1 << random.below(8);
        spoilt.write_at(place + at, &byte).unwrap();
        assert!(matches!(extent.read(&spoilt, &mut buf), Err(ReadError::Damaged)), "byte {at}");
        assert!(buf.is_empty());
        let report = verify(&spoilt).unwrap();
        let lost = report.lost.iter().any(|lost| lost.first <= Position(2) && lost.last >= Position(2));
        assert!(lost && report.cut.is_none(), "byte {at}: {report}");
        let again = open(Arc::new(spoilt), 3);
        assert_eq!(again.records.len(), 2);
        again.journal.find(BODY, 0).unwrap().read(device.as_ref(), &mut buf).unwrap();
        assert_eq!(buf, plain[0]);
    }
}

/// Whoever can write this has the key of the store, or is a defect of this program.
#[test]
fn a_payload_that_cannot_be_unpacked_is_damage_though_its_checksum_fits() {
    let bomb =
        [&(PIECE_BYTES as u32).to_le_bytes()[..], &[0x1F, b'x', 1, 0], &[0xFF; 60_000], &[0, 0]].concat();
    for (flags, bytes) in
        [(1, bomb), (2, vec![0xFF; 9]), (3, vec![1; 70_000]), (1, Vec::new()), (2, vec![9; 3])]
    {
        for newest in [false, true] {
            let device = Arc::new(store_of(12, 256 << 10, 1));
            let mut journal = open(device.clone(), 1).journal;
            journal.append_record(ANNA, Serial(1), b"before".to_vec()).unwrap();
            commit(&mut journal);
            journal.append_body(ANNA, BODY, 0, Payload::stored(flags, bytes.clone())).unwrap();
            commit(&mut journal);
            if !newest {
                journal.append_record(ANNA, Serial(2), b"behind".to_vec()).unwrap();
                commit(&mut journal);
            }
            drop(journal);
            let opened = open(device.clone(), 2);
            assert_eq!((opened.records.len(), opened.report.is_damaged()), (1 + usize::from(!newest), false));
            let mut buf = vec![1];
            let read = opened.journal.find(BODY, 0).unwrap().read(device.as_ref(), &mut buf);
            assert!(matches!(read, Err(ReadError::Damaged)) && buf.is_empty());
            let report = verify(device.as_ref()).unwrap();
            let lost: Vec<_> =
                report.lost.iter().map(|lost| lost.frame.and_then(|frame| frame.body)).collect();
            assert_eq!((lost, report.cut), (vec![Some(BODY)], None));
        }
    }
}

#[test]
fn a_frame_packed_in_a_way_that_is_not_known_is_stepped_over() {
    let device = Arc::new(store(12, 1));
    let mut journal = open(device.clone(), 1).journal;
    for flags in [4, 8, 0x8000, 0x0101] {
        journal.append_body(ANNA, BODY, 0, Payload::stored(flags, vec![1; 100])).unwrap();
    }
    journal.append_record(ANNA, Serial(1), b"behind".to_vec()).unwrap();
    commit(&mut journal);
    let opened = open(device.clone(), 2);
    assert_eq!((opened.report.unknown_frames, opened.records.len()), (4, 1));
    assert!(opened.journal.find(BODY, 0).is_none() && !verify(device.as_ref()).unwrap().is_damaged());
    // Records are read at every opening, and are never packed.
    assert!(payload::is_known(Kind::Body, 3) && payload::is_known(Kind::Structure, 3));
    assert!(!payload::is_known(Kind::Record, 1) && payload::is_known(Kind::Record, 0));
}
