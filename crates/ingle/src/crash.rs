//! What is said when there is a fault in Ingle itself.

use crate::out;
use std::panic::PanicHookInfo;

/// From now on a fault says where it is, and nothing of what was being worked on: what a message was
/// put together from may be somebody's text. One that is written in the code itself is shown.
pub fn say_nothing_of_requests() {
    std::panic::set_hook(Box::new(|fault| out::note(told(fault))));
}

fn told(fault: &PanicHookInfo<'_>) -> String {
    let place = fault.location().map_or_else(String::new, |place| {
        format!(" at {}:{}:{}", place.file(), place.line(), place.column())
    });
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("-").to_owned();
    let why = fault.payload().downcast_ref::<&'static str>();
    let why = why.unwrap_or(&"(its message is not shown: it may hold words of a request)");
    format!("a fault in Ingle{place}, thread {thread}: {why}\nplease report the place")
}

/// From now on no image of this process is written when the system ends it: what is in its memory is
/// somebody's text. Where images go through a program (systemd-coredump) that keeps to the same limit.
#[cfg(unix)]
pub fn leave_no_image() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let was = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        maximum: was.maximum,
    };
    if setrlimit(Resource::Core, none).is_err() {
        out::note("note: an image of the memory may be written if the system ends this process");
    }
}

/// Images are not written unless somebody has asked the system for them.
#[cfg(not(unix))]
pub fn leave_no_image() {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CANARY: &str = "zanzibar-quokka-9143";

    #[test]
    fn a_fault_tells_its_place_and_no_word_of_anybody() {
        let this = std::env::current_exe().unwrap();
        let forced = [
            "--exact",
            "crash::tests::forced",
            "--ignored",
            "--nocapture",
        ];
        let done = Command::new(this).args(forced).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        assert_eq!(said.matches("a fault in Ingle at ").count(), 3, "{said}");
        assert!(said.contains("crash.rs") && said.contains("thread worker"));
        assert!(said.contains("words of our own"));
        assert!(!said.contains(CANARY), "{said}");
    }

    #[test]
    #[ignore = "the test above runs it in a process of its own"]
    fn forced() {
        say_nothing_of_requests();
        let fall = |fault: fn(String)| {
            let worker = std::thread::Builder::new().name("worker".into());
            let worker = worker.spawn(move || fault(CANARY.to_owned()));
            assert!(worker.unwrap().join().is_err());
        };
        fall(|text| panic!("cannot read {text}"));
        fall(|text| std::hint::black_box(Err::<(), _>(text)).unwrap());
        fall(|_| panic!("words of our own"));
    }
}
