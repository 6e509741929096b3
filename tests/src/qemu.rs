//! The emulated machine: a q35 PC without hardware virtualisation of the host (TCG).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// How the machine finds its hypervisor.
pub enum Boot {
    /// GRUB from a CD image.
    Iso(PathBuf),
    /// QEMU's own multiboot loader, and no module.
    Alone {
        /// A 32-bit multiboot ELF file.
        hypervisor: PathBuf,
        /// Its command line.
        hypervisor_args: String,
    },
    /// QEMU's own multiboot loader: saves about a second.
    Direct {
        /// A 32-bit multiboot ELF file.
        hypervisor: PathBuf,
        /// Its command line.
        hypervisor_args: String,
        /// dom0's kernel.
        kernel: PathBuf,
        /// Its command line.
        kernel_args: String,
        /// Further modules: dom0's initramfs.
        modules: Vec<PathBuf>,
    },
}

/// A machine to start.
pub struct Machine {
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory, as QEMU's `-m` takes it.
    pub memory: String,
    /// Where it boots from.
    pub boot: Boot,
    /// A raw disk image on the AHCI controller.
    pub disk: Option<PathBuf>,
    /// Wait for gdb on TCP port 1234 before the first instruction.
    pub gdb: bool,
    /// What the machine's clock follows.
    pub clock: Clock,
    /// Changes to the machine, as QEMU takes them: `,hpet=off`.
    pub options: &'static str,
    /// Changes to the CPU model, as QEMU takes them: `,vendor=GenuineIntel`.
    pub cpu: &'static str,
    /// Two NUMA nodes, the CPUs and the memory (which must be an even number of MiB and given so) halved.
    pub two_nodes: bool,
    /// The serial port that is the console.
    pub port: Port,
    /// Where the emulator is asked for, and leaves, traces of what it executes.
    pub trace: Option<Trace>,
    /// Where QEMU's monitor listens (a Unix socket).
    pub monitor: Option<PathBuf>,
}

/// A serial port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Port {
    /// The first one.
    #[default]
    Com1,
    /// The second one; the first one goes nowhere.
    Com2,
}

/// Where the emulator is asked for, and leaves, traces of what it executes.
#[derive(Clone)]
pub struct Trace {
    /// Unix socket of the emulator's monitor.
    pub monitor: PathBuf,
    /// The emulator's log.
    pub log: PathBuf,
}

/// What the machine's clock follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The host's.
    #[default]
    Host,
    /// The instructions that the guest executes: one is a tick of its TSC and a nanosecond. A run then repeats to
    /// the last instruction.
    Instructions,
}

/// QEMU's I/O port that ends the run; the exit status is twice the value written, plus 1.
const DEBUG_EXIT: &str = "isa-debug-exit,iobase=0xf4,iosize=0x04";

impl Machine {
    /// A machine with nothing special to it.
    pub fn new(cpus: u32, memory: &str, boot: Boot) -> Self {
        Self {
            cpus,
            memory: memory.to_owned(),
            boot,
            disk: None,
            gdb: false,
            clock: Clock::Host,
            options: "",
            cpu: "",
            port: Port::Com1,
            trace: None,
            two_nodes: false,
            monitor: None,
        }
    }

    /// The QEMU command with the serial console on `chardev` (an argument of `-chardev` with the id `com1`).
    ///
    /// QEMU dies with the thread that starts it, so that no machine is ever left running.
    pub fn command(&self, chardev: &str) -> Result<Command> {
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        let counted = self.clock == Clock::Instructions;
        qemu.args([
            "-machine",
            &format!("q35{}", self.options),
            "-cpu",
            &format!("{}{}", cpu_model(counted)?, self.cpu),
        ]);
        qemu.args([
            "-accel",
            if counted || self.cpus as usize > host_cpus() {
                "tcg,thread=single"
            } else {
                "tcg"
            },
        ]);
        if counted {
            qemu.args(["-icount", "shift=0,sleep=off", "-seed", "1"]);
            qemu.args(["-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
        }
        qemu.args(["-smp", &self.cpus.to_string(), "-m", &self.memory]);
        qemu.args([
            "-nodefaults",
            "-vga",
            "std",
            "-display",
            "none",
            "-no-reboot",
            "-device",
            DEBUG_EXIT,
        ]);
        if self.two_nodes {
            self.add_nodes(&mut qemu)?;
        }
        qemu.args(["-chardev", chardev]);
        if let Some(monitor) = &self.monitor {
            qemu.arg("-monitor");
            qemu.arg(format!(
                "unix:{},server=on,wait=off",
                escape(&monitor.display().to_string())
            ));
        }
        if self.port == Port::Com2 {
            qemu.args(["-serial", "null"]);
        }
        qemu.args(["-serial", "chardev:com1"]);
        // Nothing leaves the machine: DHCP and the gateway answer, and that is all.
        qemu.args(["-nic", "user,model=e1000e,restrict=on"]);
        if let Some(disk) = &self.disk {
            qemu.arg("-drive");
            qemu.arg(format!(
                "if=none,id=disk0,format=raw,file={}",
                escape(&disk.display().to_string())
            ));
            qemu.args(["-device", "ide-hd,drive=disk0,bus=ide.1"]);
        }
        match &self.boot {
            Boot::Iso(iso) => {
                qemu.arg("-drive");
                qemu.arg(format!(
                    "if=none,id=cd0,media=cdrom,format=raw,readonly=on,file={}",
                    escape(&iso.display().to_string())
                ));
                qemu.args(["-device", "ide-cd,drive=cd0,bus=ide.0", "-boot", "d"]);
            }
            Boot::Alone {
                hypervisor,
                hypervisor_args,
            } => {
                qemu.arg("-kernel").arg(hypervisor);
                qemu.args(["-append", hypervisor_args]);
            }
            Boot::Direct {
                hypervisor,
                hypervisor_args,
                kernel,
                kernel_args,
                modules: files,
            } => {
                qemu.arg("-kernel").arg(hypervisor);
                qemu.args(["-append", hypervisor_args]);
                let mut modules = escape(&format!("{} {kernel_args}", kernel.display()));
                for file in files {
                    modules.push(',');
                    modules.push_str(&escape(&file.display().to_string()));
                }
                qemu.args(["-initrd", &modules]);
            }
        }
        if let Some(trace) = &self.trace {
            qemu.arg("-monitor");
            qemu.arg(format!(
                "unix:{},server=on,wait=off",
                escape(&trace.monitor.display().to_string())
            ));
            qemu.arg("-D").arg(&trace.log);
        }
        if self.gdb {
            qemu.args(["-s", "-S"]);
        }
        qemu.stdin(Stdio::null());
        Ok(qemu)
    }
}

impl Machine {
    fn add_nodes(&self, qemu: &mut Command) -> Result<()> {
        let size: u32 = self
            .memory
            .strip_suffix('M')
            .and_then(|size| size.parse().ok())
            .context("the memory of two nodes is to be given in MiB")?;
        let half = self.cpus / 2;
        for (node, first, last) in [(0, 0, half.max(1) - 1), (1, half, self.cpus - 1)] {
            qemu.arg("-object");
            qemu.arg(format!(
                "memory-backend-ram,id=ram{node},size={}M",
                size / 2
            ));
            qemu.arg("-numa");
            qemu.arg(format!(
                "node,nodeid={node},memdev=ram{node},cpus={first}-{last}"
            ));
        }
        qemu.args(["-numa", "dist,src=0,dst=1,val=30"]);
        Ok(())
    }
}

/// QEMU splits options at commas; a doubled one stands for itself.
fn escape(text: &str) -> String {
    text.replace(',', ",,")
}

fn host_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Everything that TCG emulates. QEMU before 8 gets SMAP wrong for a hypervisor that uses it, and its x2APIC reads
/// the clock at the wrong time when instructions are counted.
fn cpu_model(counted: bool) -> Result<String> {
    let out = Command::new("qemu-system-x86_64")
        .arg("--version")
        .output()
        .context("cannot start qemu-system-x86_64")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let major = text
        .split_whitespace()
        .find_map(|word| word.split_once('.')?.0.parse::<u32>().ok());
    let mut model = "max".to_owned();
    if major.is_some_and(|major| major < 8) {
        model.push_str(",-smap");
    }
    if counted {
        model.push_str(",-x2apic");
    }
    Ok(model)
}
