//! SEARCH (in progress on another branch).
use super::job::{Job, Progress, Reply, Selected};
use crate::session::{Context, Input, Io};
use crate::wire::imap::Search as Command;

/// (in progress)
pub struct Search;

impl Search {
    /// A SEARCH. Sets inside its keys are resolved by itself: `Selected::resolve`.
    ///
    /// # Errors
    /// BADCHARSET, or BAD for sequence numbers beyond the view.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(
        _command: Command,
        _cx: &mut Context<'_>,
        _selected: &mut Selected,
    ) -> Result<Box<dyn Job>, Reply> {
        Ok(Box::new(Search))
    }
}

impl Job for Search {
    fn step(&mut self, _: Input<'_>, _: &mut Io, _: &mut Context<'_>, _: &mut Selected) -> Progress {
        Progress::Done(Reply::no("", "in progress"))
    }
}
