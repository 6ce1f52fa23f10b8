//! The laws of the scanner and of section lookup.

use super::*;
