/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What umount.minifs asks the server of a mounted image, by ioctl(2) on its root. */
#ifndef SNAPMAP_CONTROL_H
#define SNAPMAP_CONTROL_H

#include <sys/ioctl.h>

/**
 * struct control_ending - where to hear of the end
 * @socket: an abstract name of a stream socket. Who connects to it before the file
 *	system is unmounted gets a byte when the server is done: 0, or the errno of the
 *	last commit. Nothing comes if the server was killed.
 */
struct control_ending {
	char socket[64];
};

#define CONTROL_ENDING _IOR('m', 0xe0, struct control_ending)

#endif
