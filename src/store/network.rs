//! What the owner sets of the network. A value: it refuses to know how a kernel is told (the board's program does).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The network's settings, whole. Nothing set: DHCP, and IPv6 addresses from the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// IPv4.
    pub ipv4: Ipv4,
    /// IPv6.
    pub ipv6: Ipv6,
    /// Servers that are asked for names; none: those that DHCP tells.
    pub dns: Vec<IpAddr>,
}

/// How the IPv4 address is come by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ipv4 {
    /// RFC 2131.
    #[default]
    Dhcp,
    /// It is set.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// Bits of the network, 1 to 32.
        prefix: u8,
        /// Where all else goes.
        gateway: Option<Ipv4Addr>,
    },
}

/// How IPv6 addresses are come by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ipv6 {
    /// From the router's advertisements (RFC 4862).
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// It is set, and the router's advertisements are not listened to.
    Static {
        /// The address.
        address: Ipv6Addr,
        /// Bits of the network, 1 to 128.
        prefix: u8,
        /// Where all else goes.
        gateway: Option<Ipv6Addr>,
    },
}
