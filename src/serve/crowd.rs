//! How many connections there are, in all and from each address, and who may still come in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_PEER_MAX};

/// The connections of now.
pub struct Crowd {
    places: usize,
    here: Mutex<Here>,
}

#[derive(Default)]
struct Here {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// One connection's place, given back when it is dropped.
pub struct Place {
    crowd: Arc<Crowd>,
    peer: Option<IpAddr>,
}

impl Crowd {
    /// Room for `CONNECTIONS_MAX`, or for as many as there are file descriptors.
    pub fn new(descriptors: u64) -> Crowd {
        // The store, the listeners, the reactor and the log need some too.
        let left = usize::try_from(descriptors.saturating_sub(64)).unwrap_or(usize::MAX);
        Crowd { places: left.min(CONNECTIONS_MAX), here: Mutex::default() }
    }

    /// A place, if there is one for this peer. The console and the serial line, without an address, always get one.
    pub fn enter(self: &Arc<Crowd>, peer: Option<IpAddr>) -> Option<Place> {
        let peer = peer.map(origin);
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peer {
            let from_there = here.by_peer.get(&peer).copied().unwrap_or_default();
            if here.all >= self.places || from_there >= CONNECTIONS_PER_PEER_MAX {
                return None;
            }
            here.by_peer.insert(peer, from_there + 1);
        }
        here.all += 1;
        Some(Place { crowd: Arc::clone(self), peer })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.here.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut here = self.crowd.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.all -= 1;
        if let Some(peer) = self.peer
            && let Some(count) = here.by_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                here.by_peer.remove(&peer);
            }
        }
    }
}

/// What counts as one peer: an IPv4 address, or an IPv6 /64, which is what one household or host is given (RFC 6177).
fn origin(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let crowd = Arc::new(Crowd::new(64 + 2));
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let places: Vec<_> = [crowd.enter(Some(one)), crowd.enter(Some(one))].into_iter().flatten().collect();
        assert_eq!(places.len(), 2);
        assert!(crowd.enter(Some(one)).is_none());
        assert!(crowd.enter(None).is_some(), "the owner gets in");
        drop(places);
        assert_eq!(crowd.count(), 0);
        assert!(crowd.here.lock().unwrap().by_peer.is_empty());
    }

    #[test]
    fn one_peer_cannot_take_every_place() {
        let crowd = Arc::new(Crowd::new(u64::MAX));
        let hosts = (0..=CONNECTIONS_PER_PEER_MAX).map(|host| {
            let address: IpAddr = format!("2001:db8::{host:x}").parse().unwrap();
            crowd.enter(Some(address))
        });
        let mut places: Vec<_> = hosts.collect();
        assert!(places.pop().unwrap().is_none());
        assert!(places.iter().all(Option::is_some));
        assert!(crowd.enter(Some("2001:db8:0:1::1".parse().unwrap())).is_some());
    }
}
