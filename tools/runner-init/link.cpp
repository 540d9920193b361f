#include "tools/runner-init/link.hpp"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace runner::init {

using shim::InitEvent;
using shim::InitRecord;
using shim::InitStep;
namespace protocol = runner::shim;

char message[protocol::kMostExecBytes];

void report(const InitRecord& record) {
  // A shim that is gone shows as end of file in the loop; nothing is to be done about it here.
  ssize_t sent;
  do {
    sent = ::send(protocol::kInitSocket, &record, sizeof record, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
}

void report(InitEvent event, std::int32_t value, std::uint32_t detail) {
  InitRecord record;
  record.event = event;
  record.value = value;
  record.detail = detail;
  report(record);
}

void give_up(InitStep step, int error) {
  report(InitEvent::kExecFailed, error, static_cast<std::uint32_t>(step));
  ::_exit(kNotStarted);
}

void end_with_shim() {
  ::kill(-1, SIGKILL);  // everything in the namespace but us; our own exit would do the same
  ::_exit(protocol::kLostShimStatus);
}

ssize_t hear(int (&descriptors)[3], int flags) {
  iovec piece{message, sizeof message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptors)];
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  descriptors[0] = descriptors[1] = descriptors[2] = -1;
  ssize_t got;
  do {
    got = ::recvmsg(protocol::kInitSocket, &header, MSG_CMSG_CLOEXEC | flags);
  } while (got < 0 && errno == EINTR);
  const cmsghdr* first = got > 0 ? CMSG_FIRSTHDR(&header) : nullptr;
  if (first != nullptr && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS)
    ::memcpy(descriptors, CMSG_DATA(first),
             first->cmsg_len - CMSG_LEN(0) < sizeof descriptors ? first->cmsg_len - CMSG_LEN(0) : sizeof descriptors);
  return got;
}

}  // namespace runner::init
