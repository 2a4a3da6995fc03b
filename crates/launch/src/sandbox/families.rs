//! A filter of system calls, for a sandbox without a network: see `seccomp(2)`.
//!
//! A namespace of the network holds what has addresses in it. It does not hold `AF_VSOCK`, by which a virtual machine reaches
//! its host, nor other families that few know. So sockets are of the families that a namespace does hold, or are none.

/// Returns the filter as bubblewrap reads it; `None` for a processor whose numbers of system calls stand not here.
pub(super) fn filter() -> Option<Vec<u8>> {
    let machine = MACHINES.iter().find(|machine| machine.name == std::env::consts::ARCH)?;
    Some(machine.filter().into_iter().flat_map(Instruction::bytes).collect())
}

/// Numbers of a processor: <https://github.com/torvalds/linux/blob/master/include/uapi/linux/audit.h>, and its tables of system
/// calls.
struct Machine {
    name: &'static str,
    audit: u32,
    socket: u32,
    socketpair: u32,
    /// Calls that make sockets for programs of 32 bits. Of one the family cannot be seen, so they are refused as a whole.
    of_others: [u32; 3],
}

impl Machine {
    fn filter(&self) -> [Instruction; 20] {
        let [one, two, three] = self.of_others;
        [
            load(ARCHITECTURE),
            if_equal(1, self.audit, 2, OTHERS),
            load(NUMBER),
            // The same calls with pointers of 32 bits.
            Instruction { code: AND, ..load(!X32) },
            if_equal(4, IO_URING_SETUP, UNKNOWN, 5),
            if_equal(5, self.socket, FAMILY, 6),
            if_equal(6, self.socketpair, FAMILY, ALLOWED),
            load(FIRST_ARGUMENT),
            if_equal(8, FAMILIES[0], ALLOWED, 9),
            if_equal(9, FAMILIES[1], ALLOWED, 10),
            if_equal(10, FAMILIES[2], ALLOWED, 11),
            if_equal(11, FAMILIES[3], ALLOWED, REFUSED),
            load(NUMBER),
            if_equal(13, IO_URING_SETUP, UNKNOWN, 14),
            if_equal(14, one, REFUSED, 15),
            if_equal(15, two, REFUSED, 16),
            if_equal(16, three, REFUSED, ALLOWED),
            answer(ERRNO | EAFNOSUPPORT),
            answer(ERRNO | ENOSYS),
            answer(ALLOW),
        ]
    }
}

/// An instruction of the [classic filter](https://docs.kernel.org/networking/filter.html).
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

impl Instruction {
    fn bytes(self) -> [u8; 8] {
        let ([a, b], [c, d, e, f]) = (self.code.to_ne_bytes(), self.operand.to_ne_bytes());
        [a, b, self.if_true, self.if_false, c, d, e, f]
    }
}

/// Loads what is at an offset of `seccomp_data`.
fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, if_true: 0, if_false: 0, operand: offset }
}

/// Goes from one place to one of two behind it.
fn if_equal(at: u8, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code: IF_EQUAL, if_true: if_true - at - 1, if_false: if_false - at - 1, operand }
}

fn answer(operand: u32) -> Instruction {
    Instruction { code: ANSWER, ..load(operand) }
}

const MACHINES: [Machine; 2] = [
    Machine { name: "x86_64", audit: 0xC000_003E, socket: 41, socketpair: 53, of_others: [102, 359, 360] },
    Machine { name: "aarch64", audit: 0xC000_00B7, socket: 198, socketpair: 199, of_others: [281, 288, 288] },
];
/// `AF_UNIX`, `AF_INET`, `AF_INET6` and `AF_NETLINK`.
const FAMILIES: [u32; 4] = [1, 2, 10, 16];
/// Makes sockets by itself, where no filter sees it; programs go on without it. The same number everywhere.
const IO_URING_SETUP: u32 = 425;
const X32: u32 = 0x4000_0000;

/// Places of the filter.
const FAMILY: u8 = 7;
const OTHERS: u8 = 12;
const REFUSED: u8 = 17;
const UNKNOWN: u8 = 18;
const ALLOWED: u8 = 19;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// Of 64 bits, of which the lower half says the family: both processors have it first.
const FIRST_ARGUMENT: u32 = 16;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IF_EQUAL: u16 = 0x15;
const ANSWER: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const EAFNOSUPPORT: u32 = 97;
const ENOSYS: u32 = 38;

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of a filter to a call.
    fn asked(filter: &[Instruction], audit: u32, number: u32, family: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let Instruction { code, if_true, if_false, operand } = filter[at];
            at += 1;
            match code {
                LOAD if operand == NUMBER => value = number,
                LOAD if operand == ARCHITECTURE => value = audit,
                LOAD if operand == FIRST_ARGUMENT => value = family,
                AND => value &= operand,
                IF_EQUAL => at += usize::from(if value == operand { if_true } else { if_false }),
                ANSWER => return operand,
                _ => panic!("{code:#x} {operand}"),
            }
        }
    }

    #[test]
    fn sockets_are_of_families_that_a_namespace_of_the_network_holds() {
        const VSOCK: u32 = 40;
        const READ: u32 = 0;
        for machine in &MACHINES {
            let filter = machine.filter();
            let native = |number, family| asked(&filter, machine.audit, number, family);
            for number in [machine.socket, machine.socketpair, machine.socket | X32] {
                for family in FAMILIES {
                    assert_eq!(native(number, family), ALLOW, "{} {number} {family}", machine.name);
                }
                for family in [VSOCK, 17, 0, u32::MAX] {
                    assert_eq!(native(number, family), ERRNO | EAFNOSUPPORT, "{number} {family}");
                }
            }
            assert_eq!(native(READ, VSOCK), ALLOW);
            for audit in [machine.audit, 0x4000_0003] {
                assert_eq!(asked(&filter, audit, IO_URING_SETUP, 1), ERRNO | ENOSYS);
            }
            for number in machine.of_others {
                assert_eq!(asked(&filter, 0x4000_0003, number, 1), ERRNO | EAFNOSUPPORT);
            }
            assert_eq!(asked(&filter, 0x4000_0003, 3, VSOCK), ALLOW);
        }
    }
}
