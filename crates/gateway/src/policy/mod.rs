//! What may leave: rules, what a text holds (secrets, personal data, a company's own terms), taint,
//! redaction. What cannot be classified stays here.
