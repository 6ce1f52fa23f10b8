//! FETCH (in progress on another branch).
use super::job::{Job, Progress, Reply, Selected};
use crate::session::{Context, Input, Io};
use crate::types::UidSet;
use crate::wire::imap::Fetch as Command;

/// (in progress)
pub struct Fetch;

impl Fetch {
    /// A FETCH of these messages.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(
        _command: Command,
        _set: UidSet,
        _cx: &mut Context<'_>,
        _selected: &mut Selected,
    ) -> Box<dyn Job> {
        Box::new(Fetch)
    }
}

impl Job for Fetch {
    fn step(&mut self, _: Input<'_>, _: &mut Io, _: &mut Context<'_>, _: &mut Selected) -> Progress {
        Progress::Done(Reply::no("", "in progress"))
    }
}
