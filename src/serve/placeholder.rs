//! (until the sessions of other branches are here)
use super::Service;
use crate::session::{Context, Farewell, Input, Io, Next, Session};

/// Says what it would be, and closes.
pub struct Placeholder(pub Service);

impl Session for Placeholder {
    fn step(&mut self, _input: Input<'_>, io: &mut Io, _cx: &mut Context<'_>) -> Next {
        io.out.extend_from_slice(format!("{:?} is not here yet\r\n", self.0).as_bytes());
        Next::Close
    }

    fn farewell(&mut self, _why: Farewell, _out: &mut Vec<u8>) {}
}
