/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel may ask, and what is agreed with it at the start. */
#include "config.h"

#include <errno.h>

#include "freezer.h"
#include "server.h"

void reply_changed(fuse_req_t req, int rc)
{
	if (!rc)
		commits_note(&server_of(req)->commits, CHANGE_BYTES);
	fuse_reply_err(req, -rc);
}

/*
 * Opening does not reach us, so cutting a file is a request of its own. Set-ID bits of
 * files that are written to are taken away by the kernel, which knows who may keep them.
 */
static void begin(void *arg, struct fuse_conn_info *conn)
{
	const struct server *server = (const struct server *)arg;

	conn->want &= ~(unsigned)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_AUTO_INVAL_DATA);
	conn->want |= conn->capable & (FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_PARALLEL_DIROPS |
				       (server->writeback ? FUSE_CAP_WRITEBACK_CACHE : 0));
	conn->max_background = SERVING_BACKGROUND;
	conn->time_gran = 1;
}

const struct fuse_lowlevel_ops server_operations = {
	.init = begin,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.fsync = op_fsync,
	.opendir = op_open,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.fsyncdir = op_fsync,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
	.lseek = op_lseek,
	.ioctl = op_ioctl,
};
