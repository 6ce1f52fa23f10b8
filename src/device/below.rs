//! Media that are over another medium and do some things otherwise.

/// The named methods of [`super::Device`] as those of a field's medium: `below!(inner: size flush);` in an `impl Device`. What is not named there
/// must be written.
macro_rules! below {
    (@ $inner:tt size) => {
        fn size(&self) -> u64 {
            self.$inner.size()
        }
    };
    (@ $inner:tt read_at) => {
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
            self.$inner.read_at(offset, buf)
        }
    };
    (@ $inner:tt read_cached) => {
        fn read_cached(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<bool> {
            self.$inner.read_cached(offset, buf)
        }
    };
    (@ $inner:tt write_at) => {
        fn write_at(&self, offset: u64, buf: &[u8]) -> std::io::Result<()> {
            self.$inner.write_at(offset, buf)
        }
    };
    (@ $inner:tt flush) => {
        fn flush(&self) -> std::io::Result<()> {
            self.$inner.flush()
        }
    };
    (@ $inner:tt forget_cache) => {
        fn forget_cache(&self, offset: u64, length: u64) {
            self.$inner.forget_cache(offset, length);
        }
    };
    // Both hints.
    (@ $inner:tt $hint:ident) => {
        fn $hint(&self, offset: u64, length: u64) -> std::io::Result<()> {
            self.$inner.$hint(offset, length)
        }
    };
    ($inner:tt: $($name:ident)+) => {
        $(crate::device::below!(@ $inner $name);)+
    };
}
pub(crate) use below;
