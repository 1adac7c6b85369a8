//! Every message that a person may read, side by side.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ingle_egress::{EgressError, Wait};
use ingle_store::Digest;
use ingle_store::download::{DownloadError, Fault};

fn host() -> String {
    "hub.example".to_owned()
}

fn path() -> PathBuf {
    "models/qwen.gguf".into()
}

fn name() -> String {
    "qwen.gguf".to_owned()
}

fn file() -> String {
    "/org/repo/resolve/main/qwen.gguf".to_owned()
}

fn errors() -> Vec<DownloadError> {
    let gave_up = |have, size, fault| DownloadError::GaveUp {
        name: name(),
        fault: Arc::new(fault),
        tries: 8,
        have,
        size,
    };
    let denied = |status, token_sent| DownloadError::Denied {
        host: host(),
        file: file(),
        status,
        token_sent,
    };
    let full = |missing| DownloadError::DiskFull {
        folder: "models".into(),
        name: name(),
        missing,
    };
    let refused = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    vec![
        DownloadError::Egress(EgressError::Offline {
            host: host(),
            why: "--offline".to_owned(),
        }),
        DownloadError::Cancelled {
            have: 1_234_567_890,
            size: Some(4_900_000_000),
        },
        DownloadError::Cancelled {
            have: 0,
            size: None,
        },
        DownloadError::NotFound {
            host: host(),
            file: file(),
        },
        denied(401, false),
        denied(403, true),
        DownloadError::Refused {
            host: host(),
            file: file(),
            status: 418,
        },
        DownloadError::NoLength {
            host: host(),
            file: file(),
        },
        DownloadError::Later {
            host: host(),
            asked: Duration::from_secs(3600),
        },
        gave_up(
            0,
            None,
            Fault::Busy {
                host: host(),
                status: 503,
                retry_after: None,
            },
        ),
        gave_up(
            12_345,
            Some(67_890_123),
            Fault::Net(EgressError::Timeout {
                host: host(),
                wait: Wait::Body,
                limit: Duration::from_secs(30),
            }),
        ),
        DownloadError::WrongDigest {
            name: name(),
            host: host(),
            kind: "SHA-256",
            wanted: Digest([0xaa; 32]).to_string(),
            got: Digest([0xbb; 32]).to_string(),
        },
        full(999),
        full(123_456),
        full(2_550_000_000),
        DownloadError::Io {
            path: path(),
            doing: "written",
            error: refused(),
        },
        DownloadError::Lock {
            path: "models/.qwen.gguf.lock".into(),
            error: refused(),
        },
        DownloadError::BadTarget {
            path: "models/..".into(),
        },
    ]
}

fn faults() -> Vec<Fault> {
    vec![
        Fault::Net(EgressError::Cut {
            host: host(),
            reason: "connection reset".to_owned(),
        }),
        Fault::Busy {
            host: host(),
            status: 429,
            retry_after: Some(Duration::from_secs(5)),
        },
        Fault::Size {
            host: host(),
            wanted: 100,
            got: 99,
        },
        Fault::Range {
            host: host(),
            have: 10,
            range: "bytes 0-9/10".to_owned(),
        },
        Fault::TooLong {
            host: host(),
            size: 100,
        },
        Fault::Short {
            host: host(),
            have: 40,
            size: 100,
        },
        Fault::Encoded {
            host: host(),
            encoding: "gzip".to_owned(),
        },
        Fault::Changed { host: host() },
    ]
}

#[test]
fn messages() {
    let errors = errors().into_iter().map(|error| error.to_string());
    let faults = faults().into_iter().map(|fault| format!("(fault) {fault}"));
    let all: Vec<String> = errors.chain(faults).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}
