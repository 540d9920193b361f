// What doctor and the daemon say of the data directory's place and of the clock, on machines that are not this one.
#include "runner/exec/place_checks.hpp"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "runner/os/file.hpp"

using namespace runner;
using namespace runner::exec;
using Catch::Contains;

namespace {

PlaceFacts place(std::uint64_t type, const std::string& name) {
  return {.home = "/home/u/.local/share/runner",
          .type = type,
          .name = name,
          .maps = true,
          .free = std::int64_t{100} << 30,
          .inodes = 1'000'000,
          .free_inodes = 900'000};
}

}  // namespace

TEST_CASE("a local disk is a good place") {
  for (const auto& [type, name] :
       {std::pair{0xEF53U, "ext4"}, {0x58465342U, "xfs"}, {0x9123683EU, "btrfs"}, {0x2FC12FC1U, "zfs"}}) {
    const Check check = check_file_system(place(type, name));
    CHECK(check.works);
    CHECK_THAT(check.detail, Contains(name));
    CHECK(check.remedy.empty());
    CHECK_FALSE(unfit_place(place(type, name)));
  }
}

TEST_CASE("no daemon runs where another machine may write to its databases") {
  for (const auto& [type, name, said] : {std::tuple{0x6969U, "nfs4", "NFS"},
                                         {0x517BU, "smbfs", "SMB"},
                                         {0xFF534D42U, "cifs", "CIFS"},
                                         {0xFE534D42U, "smb3", "SMB"},
                                         {0x01021997U, "9p", "9p"},
                                         {0x786F4256U, "vboxsf", "VirtualBox"},
                                         {0x65735546U, "fuse.sshfs", "FUSE (sshfs)"},
                                         {0x65735546U, "virtiofs", "FUSE"},
                                         {0x00C36400U, "ceph", "Ceph"}}) {
    INFO(name);
    const Check check = check_file_system(place(type, name));
    CHECK_FALSE(check.works);
    CHECK_THAT(check.detail, Contains(said) && Contains("another machine"));
    CHECK_THAT(check.remedy, Contains("--home"));
    const auto unfit = unfit_place(place(type, name));
    REQUIRE(unfit);
    CHECK(unfit->code() == ErrorCode::kUnavailable);
    CHECK_THAT(unfit->message(), Contains("/home/u/.local/share/runner") && Contains(said));
    CHECK_THAT(unfit->hint(), Contains("--home"));
  }
}

TEST_CASE("no daemon runs where files cannot be mapped") {
  PlaceFacts facts = place(0x65735546U, "fuse.odd");
  facts.maps = false;
  CHECK_THAT(check_file_system(facts).detail, Contains("FUSE (odd)") && Contains("cannot be mapped"));
  CHECK(unfit_place(facts));
}

TEST_CASE("where no run can write to an overlay a daemon may run, but doctor says what will fail") {
  for (const auto& [type, name] : {std::pair{0x65735546U, "fuse.gocryptfs"},
                                   {0xF15FU, "ecryptfs"},
                                   {0x794C7630U, "overlay"},
                                   {0x2011BAB0U, "exfat"}}) {
    INFO(name);
    const Check check = check_file_system(place(type, name));
    CHECK_FALSE(check.works);
    CHECK_THAT(check.detail, Contains("overlayfs"));
    CHECK_THAT(check.remedy, Contains("--home"));
    CHECK_FALSE(unfit_place(place(type, name)));
  }
  CHECK_THAT(check_file_system(place(0x794C7630U, "overlay")).remedy, Contains("volume"));
}

TEST_CASE("memory is a place until the next reboot") {
  for (const auto& [type, name] : {std::pair{0x01021994U, "tmpfs"}, {0x858458F6U, "ramfs"}}) {
    const Check check = check_file_system(place(type, name));
    CHECK_FALSE(check.works);
    CHECK_THAT(check.detail, Contains("reboot"));
    CHECK_FALSE(unfit_place(place(type, name)));
  }
}

TEST_CASE("the disk is told by bytes and by inodes") {
  PlaceFacts facts = place(0xEF53, "ext4");
  CHECK(check_disk(facts).works);
  facts.free = std::int64_t{100} << 20;
  CHECK_FALSE(check_disk(facts).works);
  CHECK_THAT(check_disk(facts).detail, Contains("100.0 MiB"));
  CHECK_THAT(check_disk(facts).remedy, Contains("gc"));
  facts = place(0xEF53, "ext4");
  facts.free_inodes = 12;
  CHECK_THAT(check_disk(facts).detail, Contains("12 more files"));
  CHECK_FALSE(check_disk(facts).works);
  facts.inodes = facts.free_inodes = 0;  // btrfs
  CHECK(check_disk(facts).works);
}

TEST_CASE("facts of this machine are those of the nearest directory that exists") {
  std::string pattern = (std::filesystem::temp_directory_path() / "runner-place-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  const PlaceFacts facts = look_at_place(std::filesystem::path(pattern) / "not/yet", true);
  CHECK(facts.type == look_at_place(pattern, false).type);
  CHECK(facts.maps);
  CHECK(facts.free > 0);
  CHECK_FALSE(facts.name.empty());
  CHECK(std::filesystem::is_empty(pattern));  // the trial leaves nothing
  os::remove_tree(pattern);
}

TEST_CASE("a clock that is wrong is told by the year, and by the history") {
  const UtcTime now = utc_from_iso8601("2026-11-21T10:00:00Z").value();
  CHECK(check_clock({.now = now}).works);
  CHECK(check_clock({.now = now, .newest = now - std::chrono::hours(1)}).works);
  CHECK_THAT(check_clock({.now = now, .newest = {}, .synchronised = false}).detail, Contains("not synchronised"));
  const Check back = check_clock({.now = now, .newest = now + std::chrono::hours(24)});
  CHECK_FALSE(back.works);
  CHECK_THAT(back.detail, Contains("stepped back") && Contains("2026-11-22T10:00:00Z"));
  CHECK_THAT(back.remedy, Contains("timedatectl"));
  const Check old = check_clock({.now = utc_from_iso8601("1970-01-01T00:00:10Z").value()});
  CHECK_FALSE(old.works);
  CHECK_THAT(old.detail, Contains("long ago"));
}
