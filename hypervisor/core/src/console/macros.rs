//! The macros that print messages: `log_info!(hv, "…", …)` with `hv: &Hypervisor<M>`, and
//! `guest_warning!(hv, domain_id, "…", …)` for what a guest can cause.

/// Prints a message whatever the log level: the banner, the boot's progress.
#[macro_export]
macro_rules! log_always {
    ($hv:expr, $($text:tt)+) => {
        $crate::console::emit($hv, $crate::console::Message {
            source: None, level: None, text: ::core::format_args!($($text)+),
        })
    };
}

/// Prints at a level; use the macros named after the levels.
#[doc(hidden)]
#[macro_export]
macro_rules! log_at {
    ($level:ident, $hv:expr, $($text:tt)+) => {
        $crate::console::emit($hv, $crate::console::Message {
            source: None,
            level: Some($crate::options::Level::$level),
            text: ::core::format_args!($($text)+),
        })
    };
}

/// Something failed.
#[macro_export]
macro_rules! log_error { ($($text:tt)+) => { $crate::log_at!(Error, $($text)+) }; }
/// Something is odd.
#[macro_export]
macro_rules! log_warning { ($($text:tt)+) => { $crate::log_at!(Warning, $($text)+) }; }
/// Something happened.
#[macro_export]
macro_rules! log_info { ($($text:tt)+) => { $crate::log_at!(Info, $($text)+) }; }
/// For those who look for a fault.
#[macro_export]
macro_rules! log_debug { ($($text:tt)+) => { $crate::log_at!(Debug, $($text)+) }; }

/// Prints, at a level and rate-limited, what a guest caused; use the macros named after levels.
#[doc(hidden)]
#[macro_export]
macro_rules! guest_log_at {
    ($level:ident, $hv:expr, $domain:expr, $($text:tt)+) => {
        $crate::console::emit($hv, $crate::console::Message {
            source: Some($domain),
            level: Some($crate::options::Level::$level),
            text: ::core::format_args!($($text)+),
        })
    };
}

/// A guest's fault.
#[macro_export]
macro_rules! guest_error { ($($text:tt)+) => { $crate::guest_log_at!(Error, $($text)+) }; }
/// A guest did something odd.
#[macro_export]
macro_rules! guest_warning { ($($text:tt)+) => { $crate::guest_log_at!(Warning, $($text)+) }; }
/// A guest did something.
#[macro_export]
macro_rules! guest_info { ($($text:tt)+) => { $crate::guest_log_at!(Info, $($text)+) }; }
/// For those who look for a guest's fault.
#[macro_export]
macro_rules! guest_debug { ($($text:tt)+) => { $crate::guest_log_at!(Debug, $($text)+) }; }
