//! What the C headers must say about `oxen_abi::event_channel`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::event_channel as abi;
    constants!(table, abi;
        EVTCHNOP_BIND_INTERDOMAIN = "EVTCHNOP_bind_interdomain",
        EVTCHNOP_BIND_VIRQ = "EVTCHNOP_bind_virq",
        EVTCHNOP_BIND_PIRQ = "EVTCHNOP_bind_pirq",
        EVTCHNOP_CLOSE = "EVTCHNOP_close",
        EVTCHNOP_SEND = "EVTCHNOP_send",
        EVTCHNOP_STATUS = "EVTCHNOP_status",
        EVTCHNOP_ALLOC_UNBOUND = "EVTCHNOP_alloc_unbound",
        EVTCHNOP_BIND_IPI = "EVTCHNOP_bind_ipi",
        EVTCHNOP_BIND_VCPU = "EVTCHNOP_bind_vcpu",
        EVTCHNOP_UNMASK = "EVTCHNOP_unmask",
        EVTCHNOP_RESET = "EVTCHNOP_reset",
        EVTCHNOP_INIT_CONTROL = "EVTCHNOP_init_control",
        EVTCHNOP_EXPAND_ARRAY = "EVTCHNOP_expand_array",
        EVTCHNOP_SET_PRIORITY = "EVTCHNOP_set_priority",
        BIND_PIRQ_WILL_SHARE = "BIND_PIRQ__WILL_SHARE",
        EVTCHNSTAT_CLOSED = "EVTCHNSTAT_closed",
        EVTCHNSTAT_UNBOUND = "EVTCHNSTAT_unbound",
        EVTCHNSTAT_INTERDOMAIN = "EVTCHNSTAT_interdomain",
        EVTCHNSTAT_PIRQ = "EVTCHNSTAT_pirq",
        EVTCHNSTAT_VIRQ = "EVTCHNSTAT_virq",
        EVTCHNSTAT_IPI = "EVTCHNSTAT_ipi",
        EVTCHN_2L_NR_CHANNELS = "EVTCHN_2L_NR_CHANNELS",
        EVTCHN_FIFO_PRIORITY_MAX = "EVTCHN_FIFO_PRIORITY_MAX",
        EVTCHN_FIFO_PRIORITY_DEFAULT = "EVTCHN_FIFO_PRIORITY_DEFAULT",
        EVTCHN_FIFO_PRIORITY_MIN = "EVTCHN_FIFO_PRIORITY_MIN",
        EVTCHN_FIFO_PENDING = "EVTCHN_FIFO_PENDING",
        EVTCHN_FIFO_MASKED = "EVTCHN_FIFO_MASKED",
        EVTCHN_FIFO_LINKED = "EVTCHN_FIFO_LINKED",
        EVTCHN_FIFO_BUSY = "EVTCHN_FIFO_BUSY",
        EVTCHN_FIFO_LINK_BITS = "EVTCHN_FIFO_LINK_BITS",
        EVTCHN_FIFO_NR_CHANNELS = "EVTCHN_FIFO_NR_CHANNELS",
        EVTCHN_FIFO_LINK_MASK = "EVTCHN_FIFO_LINK_MASK",
        EVTCHN_FIFO_MAX_QUEUES = "EVTCHN_FIFO_MAX_QUEUES",
    );
    structs!(table, abi::AllocUnbound, "struct evtchn_alloc_unbound";
        dom = "dom",
        remote_dom = "remote_dom",
        port = "port",
    );
    structs!(table, abi::BindInterdomain, "struct evtchn_bind_interdomain";
        remote_dom = "remote_dom",
        remote_port = "remote_port",
        local_port = "local_port",
    );
    structs!(table, abi::BindVirq, "struct evtchn_bind_virq";
        virq = "virq",
        vcpu = "vcpu",
        port = "port",
    );
    structs!(table, abi::BindPirq, "struct evtchn_bind_pirq";
        pirq = "pirq",
        flags = "flags",
        port = "port",
    );
    structs!(table, abi::BindIpi, "struct evtchn_bind_ipi";
        vcpu = "vcpu",
        port = "port",
    );
    structs!(table, abi::Close, "struct evtchn_close";
        port = "port",
    );
    structs!(table, abi::Send, "struct evtchn_send";
        port = "port",
    );
    structs!(table, abi::Status, "struct evtchn_status";
        dom = "dom",
        port = "port",
        status = "status",
        vcpu = "vcpu",
        u = "u",
    );
    structs!(table, abi::BindVcpu, "struct evtchn_bind_vcpu";
        port = "port",
        vcpu = "vcpu",
    );
    structs!(table, abi::Unmask, "struct evtchn_unmask";
        port = "port",
    );
    structs!(table, abi::Reset, "struct evtchn_reset";
        dom = "dom",
    );
    structs!(table, abi::InitControl, "struct evtchn_init_control";
        control_gfn = "control_gfn",
        offset = "offset",
        vcpu = "vcpu",
        link_bits = "link_bits",
        _pad = "_pad",
    );
    structs!(table, abi::ExpandArray, "struct evtchn_expand_array";
        array_gfn = "array_gfn",
    );
    structs!(table, abi::SetPriority, "struct evtchn_set_priority";
        port = "port",
        priority = "priority",
    );
    structs!(table, abi::FifoControlBlock, "struct evtchn_fifo_control_block";
        ready = "ready",
        _rsvd = "_rsvd",
        head = "head",
    );
}
