//! The one table of the house: which crate stands on which floor, and who may do what.

/// Crate name and floor. A crate imports only from floors below its own.
pub const FLOORS: &[(&str, u32)] = &[
    ("ingle-formats", 0),
    ("ingle-egress", 0),
    ("ingle-tensor", 1),
    ("ingle-model", 2),
    ("ingle-store", 2),
    ("ingle-engine", 3),
    ("ingle-gateway", 4),
    ("ingle-agent", 5),
    ("ingle-server", 5),
    ("ingle", 6),
];

/// Workspace members that stand outside the house: nothing of the product may import them.
pub const TOOLS: &[&str] = &["xtask"];

/// Where `unsafe` may stand: the kernels and the memory they run on, what calls them (threads write
/// disjoint rows of one buffer), and the direct reads of the store. A trailing slash names a folder.
pub const UNSAFE_ALLOWED: &[&str] = &[
    "crates/tensor/src/kernel/",
    "crates/tensor/src/cpu/",
    "crates/tensor/src/bandwidth.rs",
    "crates/tensor/src/peak.rs",
    "crates/tensor/benches/kernels.rs",
    "crates/tensor/tests/leaves.rs",
    "crates/tensor/tests/amx.rs",
    "crates/tensor/tests/avx_vnni.rs",
    "crates/tensor/examples/kernels.rs",
    "crates/model/tests/allocations.rs",
    "crates/tensor/src/memory.rs",
    "crates/tensor/src/team.rs",
    "crates/store/src/direct/",
    "crates/store/src/direct.rs",
    "crates/store/tests/allocations.rs",
];

/// Crates whose root may lack `#![forbid(unsafe_code)]` (a `forbid` cannot be lifted further down).
pub const UNSAFE_CRATES: &[&str] = &["crates/tensor/", "crates/store/"];

/// Where code that opens a connection may stand: the one door, and tests that call their own server.
pub const DIAL_ALLOWED: &[&str] = &[
    "crates/egress/",
    // The listening half: hyper serves here, and dials nowhere.
    "crates/server/src/listen.rs",
    "crates/server/tests/",
    "crates/ingle/tests/",
    "xtask/src/",
];

/// Crates that may depend on a library able to dial: the door, and the server for its listening half.
pub const DIAL_CRATES: &[&str] = &["ingle-egress", "ingle-server"];

/// Crates that may use a package although that could dial: the binary and the gateway wait with tokio, whose
/// sockets are found by their names.
pub const DIAL_SPARED: &[(&str, &str)] = &[
    ("ingle", "tokio"),
    ("ingle-gateway", "tokio"),
    // Its tests play providers that speak TLS; the library opens no socket.
    ("ingle-gateway", "rustls"),
];

/// Names that only code which dials or looks up hosts has a use for.
pub const DIAL_NAMES: &[&str] = &[
    "UdpSocket",
    "ToSocketAddrs",
    "to_socket_addrs",
    "getaddrinfo",
    "gethostbyname",
    "lookup_host",
    "reqwest",
    "hyper",
    "hyper_util",
    "ureq",
    "isahc",
    "attohttpc",
    "hf_hub",
    "socket2",
];

/// `TYPE::function` pairs that open a connection.
pub const DIAL_CALLS: &[(&str, &str)] = &[
    ("TcpStream", "connect"),
    ("TcpStream", "connect_timeout"),
    ("TcpSocket", "connect"),
];

/// Packages that dial or look up hosts. They may be reached through `DIAL_CRATES` only.
pub const DIAL_PACKAGES: &[&str] = &[
    "reqwest",
    "hyper",
    "hyper-util",
    "ureq",
    "isahc",
    "attohttpc",
    "curl",
    "hf-hub",
    "socket2",
    "native-tls",
    "rustls",
    "tungstenite",
    "hickory-resolver",
];

/// A function longer than this does not fit on a screen. Reported, not refused.
pub const LONG_FUNCTION: usize = 70;

/// A file longer than this has probably more than one subject. Reported, not refused.
pub const LONG_FILE: usize = 600;

/// Nothing tracked may be larger.
pub const LARGEST_FILE: u64 = 20 << 20;
