//! How sure a local answer is: signals of the engine, calibrated on labelled outcomes to a probability.
