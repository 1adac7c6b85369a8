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
