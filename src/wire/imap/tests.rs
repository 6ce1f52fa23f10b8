//! The laws of the whole grammar.
