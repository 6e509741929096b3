//! The mappings that are there from the start: the image and the direct map.

use super::{Flags, MapError, tables::map};
use crate::boot::e820::{Kind, Region};
use crate::image;
use crate::layout::{DIRECT_MAP_BASE, DIRECT_MAP_SIZE, PAGE_SIZE};

/// Maps the image at its link address: code read-execute, constants read-only, variables read-write.
pub(crate) fn map_image() -> Result<(), MapError> {
    for (part, flags) in [
        (image::text(), Flags::EXECUTE),
        (image::rodata(), Flags::READ),
        (image::data(), Flags::READ_WRITE),
    ] {
        map(
            part.start,
            image::physical(part.start),
            part.end - part.start,
            flags,
        )?;
    }
    Ok(())
}

/// Maps RAM and ACPI's memory read-write, and the image's frames read-only.
pub(crate) fn map_direct(regions: &[Region]) -> Result<(), MapError> {
    let image = image::physical(image::text().start)..image::physical(image::data().end);
    for region in regions
        .iter()
        .filter(|r| matches!(r.kind, Kind::Ram | Kind::AcpiReclaimable | Kind::AcpiNvs))
    {
        let Some(start) = region.start.checked_next_multiple_of(PAGE_SIZE) else {
            continue;
        };
        let end = (region.end() & !(PAGE_SIZE - 1)).min(DIRECT_MAP_SIZE);
        for (from, to, flags) in [
            (start, end.min(image.start), Flags::READ_WRITE),
            (start.max(image.start), end.min(image.end), Flags::READ),
            (start.max(image.end), end, Flags::READ_WRITE),
        ] {
            if from < to {
                map(DIRECT_MAP_BASE + from, from, to - from, flags)?;
            }
        }
    }
    Ok(())
}
