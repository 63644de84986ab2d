//! Random input for `webhook-deploy`. What is done with it is in `reading.rs`.

#![no_main]

#[path = "../reading.rs"]
mod reading;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reading::read(input));
