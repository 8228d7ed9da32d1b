//! What firmware for the board ARM MPS2 with the image AN386 (a Cortex-M4) has in common: its clock and its
//! sleep, its Ethernet controller, TCP connections, and memory that is counted.
//!
//! No interrupt handler runs. The program sleeps until an interrupt is pending, clears it and looks around;
//! nothing is shared, so nothing needs a lock.
#![no_std]

pub mod board;
pub mod client;
pub mod lan9118;
pub mod memory;
pub mod network;
pub mod random;
pub mod server;
