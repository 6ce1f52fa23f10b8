//! (in progress on another branch: only what the store calls)
#![allow(missing_docs, unused)]
use crate::device::Device;
use crate::types::*;
use std::io;
use std::sync::Arc;
#[derive(Debug)]
pub enum AppendError {
    Full,
    ReadOnly,
    TooLarge,
}
#[derive(Debug)]
pub enum OpenError {
    NotAStore,
    Format(u32),
    Io(io::Error),
}
#[derive(Debug)]
pub struct Report;
#[derive(Debug)]
pub struct Superblock {
    pub store_number: u64,
    pub segment_bytes: u32,
    pub segment_count: u32,
    pub uidvalidity_start: u32,
}
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub raw_bytes: u64,
    pub used_bytes: u64,
    pub segments_free: u32,
}
pub struct Found<'a> {
    pub account: AccountId,
    pub position: Position,
    pub serial: Serial,
    pub payload: &'a [u8],
}
pub struct Batch;
pub enum Finish {
    Durable { accounts: Vec<AccountId> },
    Again,
    Failed,
}
pub struct Extent;
#[derive(Debug)]
pub enum ReadError {
    Io,
    Damaged,
}
impl Extent {
    pub fn read(&self, device: &dyn Device, buf: &mut Vec<u8>) -> Result<(), ReadError> {
        todo!()
    }
    pub fn read_cached(&self, device: &dyn Device, buf: &mut Vec<u8>) -> Result<bool, ReadError> {
        todo!()
    }
    pub fn payload_bytes(&self) -> usize {
        todo!()
    }
}
impl Batch {
    pub fn write(&mut self, device: &dyn Device) -> io::Result<()> {
        todo!()
    }
}
pub struct Journal;
impl Journal {
    pub fn open(
        device: Arc<dyn Device>,
        random: &mut dyn FnMut(&mut [u8]),
        visit: &mut dyn FnMut(Found<'_>),
    ) -> Result<(Journal, Report), OpenError> {
        todo!()
    }
    pub fn superblock(&self) -> &Superblock {
        todo!()
    }
    pub fn device(&self) -> &Arc<dyn Device> {
        todo!()
    }
    pub fn append_record(
        &mut self,
        account: AccountId,
        serial: Serial,
        payload: Vec<u8>,
    ) -> Result<Position, AppendError> {
        todo!()
    }
    pub fn append_body(
        &mut self,
        account: AccountId,
        body: BodyId,
        piece: u16,
        payload: Vec<u8>,
    ) -> Result<Position, AppendError> {
        todo!()
    }
    pub fn append_structure(
        &mut self,
        account: AccountId,
        body: BodyId,
        payload: Vec<u8>,
    ) -> Result<Position, AppendError> {
        todo!()
    }
    pub fn pending_bytes(&self) -> usize {
        todo!()
    }
    pub fn last(&self) -> Position {
        todo!()
    }
    pub fn body_last(&self) -> BodyId {
        todo!()
    }
    pub fn durable(&self) -> Position {
        todo!()
    }
    pub fn take(&mut self) -> Option<Batch> {
        todo!()
    }
    pub fn finish(&mut self, batch: Batch, result: io::Result<()>) -> Finish {
        todo!()
    }
    pub fn read_only(&self) -> bool {
        todo!()
    }
    pub fn find(&self, body: BodyId, piece: u16) -> Option<Extent> {
        todo!()
    }
    pub fn find_structure(&self, body: BodyId) -> Option<Extent> {
        todo!()
    }
    pub fn hold(&mut self, body: BodyId) {
        todo!()
    }
    pub fn release(&mut self, body: BodyId) {
        todo!()
    }
    pub fn capacity(&self) -> Capacity {
        todo!()
    }
    pub fn prepare_ahead(&self) -> Option<(u64, u64)> {
        todo!()
    }
}
