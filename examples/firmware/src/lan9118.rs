//! The Ethernet controller LAN9118 of SMSC, as a device of smoltcp. No crate for it was found.
//!
//! Frames go through two FIFOs of the controller, word by word, and through one buffer here for each
//! direction.

use core::ptr::with_exposed_provenance_mut;

use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

/// The longest frame, without its checksum.
const FRAME: usize = 1514;
/// Of a frame, behind it.
const CHECKSUM: usize = 4;
/// What a frame takes in the FIFO for sending, with two words of commands and its padding.
const SENDING: u32 = FRAME.next_multiple_of(4) as u32 + 8;
/// How often a register is asked for a change, at most. The controller takes microseconds.
const PATIENCE: u32 = 1_000_000;

/// Registers, by their offset in words. The data sheet names them so.
mod register {
    pub(super) const RX_DATA_FIFO: usize = 0;
    pub(super) const TX_DATA_FIFO: usize = 0x20 / 4;
    pub(super) const RX_STATUS_FIFO: usize = 0x40 / 4;
    pub(super) const IRQ_CFG: usize = 0x54 / 4;
    pub(super) const INT_STS: usize = 0x58 / 4;
    pub(super) const INT_EN: usize = 0x5C / 4;
    pub(super) const BYTE_TEST: usize = 0x64 / 4;
    pub(super) const FIFO_INT: usize = 0x68 / 4;
    pub(super) const TX_CFG: usize = 0x70 / 4;
    pub(super) const HW_CFG: usize = 0x74 / 4;
    pub(super) const RX_FIFO_INF: usize = 0x7C / 4;
    pub(super) const TX_FIFO_INF: usize = 0x80 / 4;
    pub(super) const MAC_CSR_CMD: usize = 0xA4 / 4;
    pub(super) const MAC_CSR_DATA: usize = 0xA8 / 4;
    pub(super) const E2P_CMD: usize = 0xB0 / 4;
}
use register::*;

/// What `BYTE_TEST` reads if the bus is as the controller expects it.
const BYTE_TEST_VALUE: u32 = 0x8765_4321;
/// `IRQ_CFG`: enabled, active high, push-pull.
const IRQ_ENABLED: u32 = 1 << 8 | 1 << 4 | 1;
/// `INT_STS`, `INT_EN`: more frames were received than `FIFO_INT` says.
const RECEIVED: u32 = 1 << 3;
/// `HW_CFG`.
const SOFT_RESET: u32 = 1;
/// `HW_CFG`: a bit that has to be set, and 5 KiB for the FIFO for sending, as after a reset.
const STORE_AND_FORWARD: u32 = 1 << 20 | 5 << 16;
/// `TX_CFG`: on, and nobody reads how sending went.
const SENDING_ON: u32 = 1 << 2 | 1 << 1;
/// `E2P_CMD`: the address is still being read from the EEPROM.
const EEPROM_BUSY: u32 = 1 << 31;

/// Registers behind `MAC_CSR_CMD`, and its bits.
const MAC_CR: u32 = 1;
const ADDRH: u32 = 2;
const ADDRL: u32 = 3;
const MII_ACC: u32 = 6;
const MII_DATA: u32 = 7;
const MAC_BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;
/// `MAC_CR`: full duplex, sends and receives, only what is for its address or for all.
const MAC_ON: u32 = 1 << 20 | 1 << 3 | 1 << 2;
/// `MII_ACC`: writes register 0 of the internal PHY, which has the address 1.
const PHY_CONTROL: u32 = 1 << 11 | 1 << 1 | 1;
/// To it: negotiate with the other side, from the beginning.
const NEGOTIATE: u32 = 1 << 12 | 1 << 9;

/// First word of a frame to send: it has one piece.
const WHOLE_FRAME: u32 = 1 << 13 | 1 << 12;
/// Status of a received frame.
const FRAME_FAULTY: u32 = 1 << 15;

/// Why the controller cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not there, or on another bus than this driver knows.
    Absent,
    /// It did not do something in time.
    Stuck,
}

/// The registers.
#[derive(Clone, Copy)]
struct Registers(*mut u32);

impl Registers {
    fn read(self, register: usize) -> u32 {
        // SAFETY: `Lan9118::new` was promised that the registers are there and used by nothing else.
        unsafe { self.0.add(register).read_volatile() }
    }

    fn write(self, register: usize, value: u32) {
        // SAFETY: as above.
        unsafe { self.0.add(register).write_volatile(value) }
    }

    /// Waits until none of the bits is set.
    fn cleared(self, register: usize, bits: u32) -> Result<(), Fault> {
        let cleared = (0..PATIENCE).any(|_| self.read(register) & bits == 0);
        if cleared { Ok(()) } else { Err(Fault::Stuck) }
    }

    fn read_mac(self, register: u32) -> Result<u32, Fault> {
        self.cleared(MAC_CSR_CMD, MAC_BUSY)?;
        self.write(MAC_CSR_CMD, MAC_BUSY | MAC_READ | register);
        self.cleared(MAC_CSR_CMD, MAC_BUSY)?;
        Ok(self.read(MAC_CSR_DATA))
    }

    fn write_mac(self, register: u32, value: u32) -> Result<(), Fault> {
        self.cleared(MAC_CSR_CMD, MAC_BUSY)?;
        self.write(MAC_CSR_DATA, value);
        self.write(MAC_CSR_CMD, MAC_BUSY | register);
        self.cleared(MAC_CSR_CMD, MAC_BUSY)
    }

    /// Whether a whole frame was received that nobody has read.
    fn has_received(self) -> bool {
        self.read(RX_FIFO_INF) >> 16 & 0xFF != 0
    }
}

/// The controller.
pub struct Lan9118 {
    registers: Registers,
    received: [u8; FRAME],
    sent: [u8; FRAME],
}

impl Lan9118 {
    /// Where the board has it.
    pub const MPS2: usize = 0x4020_0000;

    /// Resets the controller whose registers are at `address`, and starts it.
    ///
    /// # Safety
    ///
    /// There is such a controller, or at least nothing that minds, and nothing else uses it.
    ///
    /// # Errors
    ///
    /// There is no controller that works.
    pub unsafe fn new(address: usize) -> Result<Self, Fault> {
        let registers = Registers(with_exposed_provenance_mut(address));
        // It also wakes the controller.
        if registers.read(BYTE_TEST) != BYTE_TEST_VALUE {
            return Err(Fault::Absent);
        }
        registers.write(HW_CFG, SOFT_RESET);
        registers.cleared(HW_CFG, SOFT_RESET)?;
        registers.cleared(E2P_CMD, EEPROM_BUSY)?;
        registers.write(HW_CFG, STORE_AND_FORWARD);
        registers.write_mac(MII_DATA, NEGOTIATE)?;
        registers.write_mac(MII_ACC, PHY_CONTROL)?;
        registers.write(FIFO_INT, 0);
        registers.write(INT_STS, u32::MAX);
        registers.write(INT_EN, RECEIVED);
        registers.write(IRQ_CFG, IRQ_ENABLED);
        registers.write(TX_CFG, SENDING_ON);
        registers.write_mac(MAC_CR, MAC_ON)?;
        Ok(Self { registers, received: [0; FRAME], sent: [0; FRAME] })
    }

    /// The address from its EEPROM.
    ///
    /// # Errors
    ///
    /// The controller does not answer.
    pub fn address(&self) -> Result<EthernetAddress, Fault> {
        let [a, b, c, d] = self.registers.read_mac(ADDRL)?.to_le_bytes();
        let [e, f, ..] = self.registers.read_mac(ADDRH)?.to_le_bytes();
        Ok(EthernetAddress([a, b, c, d, e, f]))
    }

    /// Takes back the interrupt, and returns whether nothing is there to be received.
    pub fn is_idle(&self) -> bool {
        self.registers.write(INT_STS, RECEIVED);
        !self.registers.has_received()
    }

    /// Reads a frame into the buffer, and returns its length, without its checksum. Faulty frames are
    /// dropped.
    fn read_frame(&mut self) -> Option<usize> {
        while self.registers.has_received() {
            let status = self.registers.read(RX_STATUS_FIFO);
            let length = (status >> 16 & 0x3FFF) as usize;
            for word in 0..length.div_ceil(4) {
                let bytes = self.registers.read(RX_DATA_FIFO).to_le_bytes();
                let rest = self.received.get_mut(word * 4..).unwrap_or_default();
                for (to, from) in rest.iter_mut().zip(bytes) {
                    *to = from;
                }
            }
            let length = length.saturating_sub(CHECKSUM);
            if status & FRAME_FAULTY == 0 && length <= FRAME {
                return Some(length);
            }
        }
        None
    }

    fn can_send(&self) -> bool {
        self.registers.read(TX_FIFO_INF) & 0xFFFF >= SENDING
    }
}

impl phy::Device for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, ToSend<'_>)> {
        // The answer needs room.
        if !self.can_send() {
            return None;
        }
        let length = self.read_frame()?;
        let to_send = ToSend { registers: self.registers, buffer: &mut self.sent };
        Some((Received(&self.received[..length]), to_send))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToSend<'_>> {
        self.can_send().then_some(ToSend { registers: self.registers, buffer: &mut self.sent })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

/// A received frame.
pub struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to send.
pub struct ToSend<'a> {
    registers: Registers,
    buffer: &'a mut [u8; FRAME],
}

impl phy::TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let frame = &mut self.buffer[..length];
        let result = f(frame);
        // At most `FRAME`, or the line above would not have got here.
        let length = length as u32;
        self.registers.write(TX_DATA_FIFO, WHOLE_FRAME | length);
        self.registers.write(TX_DATA_FIFO, length);
        for bytes in frame.chunks(4) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            self.registers.write(TX_DATA_FIFO, u32::from_le_bytes(word));
        }
        result
    }
}
