//! Instructions that cost far more than others on silicon, though an emulator counts each as one.

use crate::trace::Instruction;

/// Kinds of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Loads of CR3.
    Cr3,
    /// INVLPG and INVPCID.
    Invalidate,
    /// WRMSR.
    WriteMsr,
    /// RDMSR.
    ReadMsr,
    /// XSAVE, XRSTOR and their older forms.
    FpuState,
    /// Locked operations, XCHG with memory among them.
    Locked,
    /// Port I/O.
    Port,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Cr3,
        Self::Invalidate,
        Self::WriteMsr,
        Self::ReadMsr,
        Self::FpuState,
        Self::Locked,
        Self::Port,
    ];

    /// As it stands in the names of figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cr3 => "cr3",
            Self::Invalidate => "invlpg",
            Self::WriteMsr => "wrmsr",
            Self::ReadMsr => "rdmsr",
            Self::FpuState => "xsave",
            Self::Locked => "locked",
            Self::Port => "port_io",
        }
    }

    /// Of which kind an instruction is.
    pub fn of(instruction: &Instruction) -> Option<Self> {
        let text = instruction.text.as_str();
        let (name, operands) = text.split_once(' ').unwrap_or((text, ""));
        match name {
            "lock" => Some(Self::Locked),
            "invlpg" | "invpcid" => Some(Self::Invalidate),
            "wrmsr" => Some(Self::WriteMsr),
            "rdmsr" => Some(Self::ReadMsr),
            _ if name.starts_with("xchg") && operands.contains('(') => Some(Self::Locked),
            _ if name.starts_with("mov") && operands.ends_with("%cr3") => Some(Self::Cr3),
            _ if ["xsave", "xrstor", "fxsave", "fxrstor"]
                .iter()
                .any(|form| name.starts_with(form)) =>
            {
                Some(Self::FpuState)
            }
            "inb" | "inw" | "inl" | "outb" | "outw" | "outl" => Some(Self::Port),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_apart() {
        let kind = |text: &str| {
            Kind::of(&Instruction {
                address: 0,
                text: text.to_owned(),
            })
        };
        assert_eq!(kind("movq %rax, %cr3"), Some(Kind::Cr3));
        assert_eq!(kind("movq %cr3, %rax"), None);
        assert_eq!(kind("lock cmpxchgq %rcx, 8(%rdx)"), Some(Kind::Locked));
        assert_eq!(kind("xchgl %eax, (%rdi)"), Some(Kind::Locked));
        assert_eq!(kind("xchgw %ax, %ax"), None);
        assert_eq!(kind("xsaveopt64 (%rdi)"), Some(Kind::FpuState));
        assert_eq!(kind("fxrstor64 (%rdi)"), Some(Kind::FpuState));
        assert_eq!(kind("outb %al, $0x80"), Some(Kind::Port));
        assert_eq!(kind("wrmsr"), Some(Kind::WriteMsr));
        assert_eq!(kind("ret"), None);
    }
}
