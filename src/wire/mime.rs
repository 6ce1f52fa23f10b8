//! (in progress on another branch: only what receive needs)
#![allow(missing_docs, unused)]
#[derive(Debug, Default)]
pub struct Scanner;
impl Scanner {
    pub fn new() -> Scanner {
        Scanner
    }
    pub fn push(&mut self, bytes: &[u8]) {
        todo!()
    }
    pub fn finish(self) -> Structure {
        todo!()
    }
}
pub struct Structure;
impl Structure {
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
}
