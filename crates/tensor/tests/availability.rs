//! A leaf runs only where the processor and the operating system have all that it needs.
#![allow(clippy::unwrap_used, reason = "a test")]

use ingle_tensor::bandwidth::ReadProbe;
use ingle_tensor::cpu::Cpu;
use ingle_tensor::kernel::{Isa, Leaf};
use ingle_tensor::peak::PeakProbe;
use ingle_tensor::quant::Encoder;
use ingle_tensor::team::Team;
use std::sync::Arc;

#[test]
fn what_a_machine_lacks_cannot_be_had() {
    for isa in Isa::ALL {
        let available = isa.is_available();
        assert_eq!(Leaf::new(isa).is_some(), available, "{isa}");
        assert_eq!(Encoder::new(isa).is_some(), available, "{isa}");
        assert_eq!(PeakProbe::new(isa).is_some(), available, "{isa}");
        assert_eq!(ReadProbe::new(isa, 1 << 20).is_some(), available, "{isa}");
        let cpu = Cpu::new(isa, Arc::new(Team::new(1)));
        assert_eq!(cpu.is_some(), available, "{isa}");
    }
    assert!(
        Isa::Scalar.is_available(),
        "the scalar leaf runs everywhere"
    );
    assert!(Isa::best().is_available());
}

#[test]
fn a_name_is_that_of_one_leaf() {
    for isa in Isa::ALL {
        assert_eq!(Isa::from_name(isa.name()), Some(isa));
    }
    assert_eq!(Isa::from_name("mmx"), None);
}
