//! What stands where there is no provider: everything is answered here.

use super::parts::{
    Coming, Fault, Grant, Looked, Offer, Ruled, Rules, Soon, Stays, Sureness, Upstreams,
};
use super::real::Feedback;
use super::situation::Door;
use crate::chat::{Message, Request};
use crate::confidence::outcomes::OutcomeError;
use crate::confidence::{Confidence, Stage};
use crate::provider::Charged;
use tokio::sync::oneshot;

/// Nobody to ask, nothing to judge.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Rules for Nobody {
    fn rule(&self, _: &Request) -> Ruled {
        Ruled::alone()
    }

    fn answered(&self, _: &Stays, _: &Message) {}
}

impl Upstreams for Nobody {
    fn door(&self) -> Door {
        Door::NoProvider
    }

    fn has(&self, _: &str) -> bool {
        false
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn offers(&self, _: &Request, _: Option<&str>) -> Result<Vec<Offer>, String> {
        Err("no provider is configured".into())
    }

    fn ask<'a>(
        &'a self,
        _: &'a Offer,
        _: &'a Request,
        _: Grant,
    ) -> Soon<'a, Result<Box<dyn Coming>, Fault>> {
        let fault = Fault {
            why: "no provider is configured".into(),
            charged: Charged::No,
        };
        Box::pin(async move { Err(fault) })
    }
}

impl Sureness for Nobody {
    fn look(&self, _: Stage, _: &str, _: &Request, _: Option<&Looked<'_>>) -> Option<Confidence> {
        None
    }

    fn threshold(&self, _: Stage, _: &str, _: &Request, _: &Offer) -> Option<f64> {
        None
    }

    fn given(&self, _: Stage, _: &str, _: &Request, _: &Looked<'_>, _: &Confidence) {}

    fn feedback(&self, _: Feedback) -> oneshot::Receiver<Result<(), OutcomeError>> {
        // The other end is gone: nothing is remembered.
        oneshot::channel().1
    }
}
