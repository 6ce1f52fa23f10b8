//! How the commands of the machine say and refuse: the one place where their sentences become the console's.

use super::settings::refused;
use super::table::{Call, Failure};
use super::text::Text;
use crate::store::StoreError;

/// Says a line.
#[expect(clippy::unnecessary_wraps, reason = "the end of a command that has done what it should")]
pub fn say(call: &mut Call<'_, '_>, text: impl Into<Text>) -> Result<(), Failure> {
    call.say(&text.into());
    Ok(())
}

/// It cannot be done: why, and what to do.
pub fn refuse(why: impl Into<Text>) -> Failure {
    Failure::Refused(why.into())
}

/// The arguments are wrong.
pub fn misused(why: impl Into<Text>) -> Failure {
    Failure::Usage(why.into())
}

/// The store has refused.
pub fn of_store(error: StoreError) -> Failure {
    Failure::Refused(refused(error))
}
