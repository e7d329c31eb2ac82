//! Where the fields of the kernel's structures are. They move between kernels, so user space looks them up in the BTF
//! of the running one and sets them before it loads the programs.

/// The offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($name:ident: $structure:literal . $path:literal,)*) => {
        /// Offsets in bytes, or [`ABSENT`].
        #[repr(C)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Offsets {
            $(#[doc = concat!("`", $structure, ".", $path, "`")] pub $name: u32,)*
        }

        impl Offsets {
            /// Nothing is known.
            pub const NONE: Self = Self { $($name: ABSENT,)* };

            /// Asks `offset` for each field, by the name of its structure and its path in there.
            pub fn find(mut offset: impl FnMut(&str, &str) -> Option<u32>) -> Self {
                Self { $($name: offset($structure, $path).unwrap_or(ABSENT),)* }
            }
        }
    };
}

offsets! {
    mapping_host: "address_space"."host",
    inode_number: "inode"."i_ino",
    inode_size: "inode"."i_size",
    inode_super: "inode"."i_sb",
    super_device: "super_block"."s_dev",
    folio_flags: "folio"."flags",
    folio_mapping: "folio"."mapping",
    folio_index: "folio"."index",
    // The low byte of it, since 6.6; before, the order had a field of its own.
    folio_flags_1: "folio"."_flags_1",
    folio_order: "folio"."_folio_order",
    page_mapping: "page"."mapping",
    page_index: "page"."index",
    task_tgid: "task_struct"."tgid",
    task_stack: "task_struct"."stack",
    task_files: "task_struct"."files",
    task_read_calls: "task_struct"."ioac.syscr",
    registers_size: "pt_regs"."",
    // x86_64 and aarch64 respectively.
    registers_orig_ax: "pt_regs"."orig_ax",
    registers_syscall: "pt_regs"."syscallno",
    // The arguments of a system call; on aarch64 user space derives them from `regs`.
    argument_0: "pt_regs"."di",
    argument_1: "pt_regs"."si",
    argument_2: "pt_regs"."dx",
    argument_3: "pt_regs"."r10",
    registers_all: "pt_regs"."regs",
    iocb_position: "kiocb"."ki_pos",
    iocb_file: "kiocb"."ki_filp",
    file_mapping: "file"."f_mapping",
    file_inode: "file"."f_inode",
    file_position: "file"."f_pos",
    files_table: "files_struct"."fdt",
    table_files: "fdtable"."fd",
    table_size: "fdtable"."max_fds",
    request_queue: "request"."q",
    // Before 5.17; since then it is the queue that knows its disk.
    request_disk: "request"."rq_disk",
    request_flags: "request"."cmd_flags",
    request_bytes: "request"."__data_len",
    request_start: "request"."start_time_ns",
    queue_disk: "request_queue"."disk",
    disk_major: "gendisk"."major",
    disk_first_minor: "gendisk"."first_minor",
    socket_cookie: "sock_common"."skc_cookie",
    socket_net: "sock_common"."skc_net",
    socket_port: "sock_common"."skc_num",
    socket_family: "sock_common"."skc_family",
    socket_address: "sock_common"."skc_daddr",
    socket_address6: "sock_common"."skc_v6_daddr",
    net_inode: "net"."ns.inum",
}
