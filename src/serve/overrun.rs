//! Whether a serial port has lost bytes: the kernel counts them, where the port is a real one.
//!
//! The count is read where everybody can read it, without an ioctl of its own (TIOCGICOUNT): a line of `/proc/tty/driver/NAME`, as
//! `0: uart:PL011 rev2 mmio:0x09000000 irq:13 tx:107 rx:42 oe:2 bo:1 RTS|CTS`, with `oe` bytes that the port had no room for and
//! `bo` bytes that the kernel had none for. It refuses to guess: a line that counts nothing (a pseudo terminal, USB) has lost nothing,
//! because its sender is held up instead.

use std::path::{Path, PathBuf};

/// Where the drivers tell.
const DRIVERS: &str = "/proc/tty/driver";

/// The counter of a port.
pub struct Overruns {
    file: Option<PathBuf>,
    port: u32,
    seen: u64,
}

impl Overruns {
    /// Of the port with this device path: `/dev/ttyS0`, `/dev/ttyAMA0`.
    pub fn of(device: &Path) -> Overruns {
        let device = device.canonicalize().unwrap_or_else(|_| device.to_owned());
        let name = device.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let port = name.get(kind.len()..).and_then(|number| number.parse().ok());
        // The driver of ttyS is called serial.
        let driver = if kind == "ttyS" { "serial" } else { kind };
        let file = Some(Path::new(DRIVERS).join(driver)).filter(|file| file.is_file() && port.is_some());
        let mut overruns = Overruns { file, port: port.unwrap_or_default(), seen: 0 };
        overruns.any();
        overruns
    }

    /// Whether bytes have been lost since the last call.
    pub fn any(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let count = count(&text, self.port).unwrap_or(self.seen);
        std::mem::replace(&mut self.seen, count) < count
    }
}

/// The bytes that this port has lost, in the driver's own words.
fn count(text: &str, port: u32) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{port}: ")))?;
    let number = |word: &str| word.strip_prefix("oe:").or(word.strip_prefix("bo:"))?.parse::<u64>().ok();
    Some(line.split(' ').filter_map(number).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_read() {
        let text = "serinfo:1.0 driver revision:\n\
                    0: uart:16550A port:000003F8 irq:4 tx:107 rx:42 RTS|CTS|DTR|CD\n\
                    1: uart:PL011 rev2 mmio:0x09000000 irq:13 tx:7 rx:9000 fe:3 oe:2 bo:40 RTS\n\
                    10: uart:unknown port:00000000 irq:0\n";
        assert_eq!(count(text, 0), Some(0));
        assert_eq!(count(text, 1), Some(42));
        assert_eq!(count(text, 10), Some(0));
        assert_eq!(count(text, 2), None);
    }

    #[test]
    fn what_is_no_port_loses_nothing() {
        let mut overruns = Overruns::of(Path::new("/dev/pts/0"));
        assert!(overruns.file.is_none() && !overruns.any());
        assert!(Overruns::of(Path::new("/nonexistent")).file.is_none());
    }
}
