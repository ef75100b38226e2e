//! BPF instructions (`linux/bpf.h`, RFC 9669), spelt out, with labels for jumps: the programs here are too small for a compiler.

/// A register. `R10` is the frame pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Reg {
    R0 = 0,
    R1,
    R2,
    R3,
    R4,
    R6 = 6,
    R7,
    R8,
    R10 = 10,
}

/// Width of a memory access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Width {
    U8 = 0x10,
    U16 = 0x08,
    U32 = 0x00,
    U64 = 0x18,
}

/// One instruction as the kernel reads it (`struct bpf_insn`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Insn {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A place to jump to.
pub(super) type Label = &'static str;

/// A program being written.
#[derive(Default, Debug)]
pub(super) struct Assembler {
    code: Vec<Insn>,
    labels: Vec<(Label, usize)>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    fn emit(&mut self, code: u8, dst: u8, src: u8, offset: i16, immediate: i32) {
        let registers = if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
        self.code.push(Insn { code, registers, offset, immediate });
    }

    /// `dst = src`
    pub(super) fn copy(&mut self, dst: Reg, src: Reg) {
        self.emit(0xbf, dst as u8, src as u8, 0, 0);
    }

    /// `dst = value`
    pub(super) fn set(&mut self, dst: Reg, value: i32) {
        self.emit(0xb7, dst as u8, 0, 0, value);
    }

    /// `dst += value`
    pub(super) fn add(&mut self, dst: Reg, value: i32) {
        self.emit(0x07, dst as u8, 0, 0, value);
    }

    /// `dst = *(width *)(src + offset)`
    pub(super) fn load(&mut self, width: Width, dst: Reg, src: Reg, offset: i16) {
        self.emit(0x61 | width as u8, dst as u8, src as u8, offset, 0);
    }

    /// `*(width *)(dst + offset) = src`
    pub(super) fn store(&mut self, width: Width, dst: Reg, offset: i16, src: Reg) {
        self.emit(0x63 | width as u8, dst as u8, src as u8, offset, 0);
    }

    /// `*(width *)(dst + offset) = value`
    pub(super) fn store_value(&mut self, width: Width, dst: Reg, offset: i16, value: i32) {
        self.emit(0x62 | width as u8, dst as u8, 0, offset, value);
    }

    /// `dst = the map behind descriptor fd`
    pub(super) fn load_map(&mut self, dst: Reg, fd: i32) {
        const PSEUDO_MAP_FD: u8 = 1;
        self.emit(0x18, dst as u8, PSEUDO_MAP_FD, 0, fd);
        self.emit(0, 0, 0, 0, 0);
    }

    /// `if dst == value goto to`
    pub(super) fn jump_equal(&mut self, dst: Reg, value: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(0x15, dst as u8, 0, 0, value);
    }

    /// `if dst != value goto to`
    pub(super) fn jump_unequal(&mut self, dst: Reg, value: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(0x55, dst as u8, 0, 0, value);
    }

    /// `if dst > src goto to`, unsigned
    pub(super) fn jump_greater(&mut self, dst: Reg, src: Reg, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(0x2d, dst as u8, src as u8, 0, 0);
    }

    /// `goto to`
    pub(super) fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(0x05, 0, 0, 0, 0);
    }

    /// `r0 = function(r1, …)`
    pub(super) fn call(&mut self, function: i32) {
        self.emit(0x85, 0, 0, 0, function);
    }

    /// `return r0`
    pub(super) fn exit(&mut self) {
        self.emit(0x95, 0, 0, 0, 0);
    }

    /// The next instruction is `label`.
    pub(super) fn label(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    /// The program, its jumps resolved. A jump to a label that does not exist goes nowhere, which the verifier refuses.
    pub(super) fn finish(mut self) -> Vec<Insn> {
        for (from, label) in self.jumps {
            if let Some((_, to)) = self.labels.iter().find(|(name, _)| *name == label) {
                self.code[from].offset = (*to as i64 - from as i64 - 1) as i16;
            }
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_count_from_the_next_instruction() {
        let mut a = Assembler::default();
        a.jump_equal(Reg::R1, 5, "end");
        a.set(Reg::R0, 1);
        a.label("end");
        a.exit();
        let code = a.finish();
        assert_eq!(code[0], Insn { code: 0x15, registers: 1, offset: 1, immediate: 5 });
        assert_eq!(code[2].code, 0x95);
        assert_eq!(size_of::<Insn>(), 8);
    }
}
