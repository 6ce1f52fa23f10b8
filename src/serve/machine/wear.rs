//! How worn the store's memory is, where it tells: an eMMC counts it (JESD84-B51 §7.4.27 and following), and the kernel shows what it said when
//! it was found, at the start. SD cards and disks tell nothing here.
//!
//! It refuses to judge: `status` does (`session::console::wear`).

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::session::console::{Spare, WearFacts};

/// A chip that tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Its folder in sysfs, `/sys/block/mmcblk0/device`.
    device: PathBuf,
}

impl Chip {
    /// The chip that a store is on, as a partition or as a file; None if it does not tell.
    pub fn of(store: &Path) -> Option<Chip> {
        Chip::find(Path::new("/sys"), store)
    }

    fn find(sys: &Path, store: &Path) -> Option<Chip> {
        let about = std::fs::metadata(store).ok()?;
        let number = if about.file_type().is_block_device() { about.rdev() } else { about.dev() };
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let block = std::fs::canonicalize(sys.join(format!("dev/block/{major}:{minor}"))).ok()?;
        // A partition's folder is in its disk's.
        let chip = |block: &Path| Chip { device: block.join("device") };
        [chip(&block), chip(block.parent()?)].into_iter().find(|chip| chip.wear().is_some())
    }

    /// What it tells now.
    pub fn wear(&self) -> Option<WearFacts> {
        let read = |name: &str| std::fs::read_to_string(self.device.join(name)).ok();
        let number = |word: &str| u8::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        // Two kinds of cells, each with its own; the one that is worse counts.
        let tenths = read("life_time")?.split_whitespace().filter_map(number).max()?;
        let spare = match read("pre_eol_info").as_deref().map(str::trim).and_then(number) {
            Some(2) => Spare::Low,
            Some(3) => Spare::Gone,
            _ => Spare::Enough,
        };
        (tenths > 0).then_some(WearFacts { tenths, spare })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn an_emmc_tells_and_other_cards_do_not() {
        let folder = std::env::temp_dir().join(format!("postfach-wear-{}", std::process::id()));
        let (sys, store) = (folder.join("sys"), folder.join("store"));
        let (disk, numbers) = (sys.join("devices/block/mmcblk0"), sys.join("dev/block"));
        fs::create_dir_all(disk.join("mmcblk0p4")).unwrap();
        fs::create_dir_all(disk.join("device")).unwrap();
        fs::create_dir_all(&numbers).unwrap();
        fs::write(&store, "").unwrap();
        let number = fs::metadata(&store).unwrap().dev();
        let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        assert_eq!(Chip::find(&sys, &store), None, "a medium that the kernel does not show");
        symlink("../../devices/block/mmcblk0/mmcblk0p4", numbers.join(number)).unwrap();
        let say = |name: &str, said: &str| fs::write(disk.join("device").join(name), said).unwrap();
        let told = || Chip::find(&sys, &store).and_then(|chip| chip.wear());
        say("type", "SD\n");
        assert_eq!(told(), None, "an SD card");
        for (life, spare, tenths, left) in [
            ("0x01 0x01\n", "0x01\n", 1, Spare::Enough),
            ("0x02 0x0a\n", "0x02\n", 10, Spare::Low),
            ("0x0b 0x00\n", "0x03\n", 11, Spare::Gone),
            ("0x01 0x01\n", "\n", 1, Spare::Enough),
        ] {
            say("life_time", life);
            say("pre_eol_info", spare);
            assert_eq!(told(), Some(WearFacts { tenths, spare: left }), "{life}");
        }
        for nothing in ["0x00 0x00\n", "", "worn\n"] {
            say("life_time", nothing);
            assert_eq!(told(), None, "{nothing:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
