// Which checkouts are made, by whom, when they may go and what a crash leaves of them.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "made_trees.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"
#include "runner/os/file.hpp"
#include "snapshot/checkout_layer.hpp"
#include "snapshot/checkout_record.hpp"
#include "snapshot/checkouts.hpp"
#include "support.hpp"

namespace runner::snapshot {
namespace {

namespace fs = std::filesystem;
using test::file;
using test::MemoryStore;
using test::Node;
using test::store_tree;
using test::TempDir;

// Counts what is read, and can fail or wait in between.
class WatchedStore : public ContentReader {
 public:
  explicit WatchedStore(const MemoryStore& store) : store_(store) {}
  bool contains(const Hash& hash) const override { return store_.contains(hash); }
  std::int64_t size(const Hash& hash) const override { return store_.size(hash); }
  void read(const Hash& hash, std::int64_t offset, std::int64_t length, const WriteSome& write) const override {
    ++reads;
    if (during_read) during_read(hash);
    store_.read(hash, offset, length, write);
  }
  mutable std::atomic<int> reads{0};
  std::function<void(const Hash&)> during_read;

 private:
  const MemoryStore& store_;
};

// A tree of `files` files, of which the first `changed` say `mark`.
Node tree_of(int files, int changed = 0, const std::string& mark = "changed") {
  Node root;
  for (int i = 0; i < files; ++i)
    root.children["d" + std::to_string(i % 7)].children["f" + std::to_string(i)] =
        file(i < changed ? mark : std::to_string(i));
  return root;
}

// The housekeeping thread works when it likes.
template <class Condition>
bool eventually(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

struct Fixture {
  TempDir home;
  fs::path directory = home.path() / "checkouts";
  MemoryStore memory;
  WatchedStore store{memory};
  Checkouts::Limits limits{};
  std::unique_ptr<Checkouts> checkouts;

  Fixture() {
    fs::create_directory(directory);
    start();
  }
  void start() {
    checkouts.reset();
    checkouts = std::make_unique<Checkouts>(store, directory, limits);
  }
  Hash put(const Node& tree) { return store_tree(memory, tree); }
  fs::path place(const Hash& id) const { return directory / id.hex(); }
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(directory)) found.insert(entry.path().filename());
    return found;
  }
  // As after a reboot, or as another version would have left it.
  void rewrite_record(const Hash& id, const std::function<void(CheckoutRecord&)>& change) const {
    auto record = decode_record(os::read_file(place(id) / "record"));
    REQUIRE(record);
    change(*record);
    os::publish_file(place(id) / "record", encode_record(*record), os::Durability::kAtomic);
  }
};

}  // namespace

TEST_CASE("a checkout is made once and is then only looked up") {
  Fixture at;
  const Hash id = at.put(tree_of(40));
  CHECK_FALSE(at.checkouts->ready(id));
  const auto layers = at.checkouts->acquire(id, "one");
  REQUIRE(layers == std::vector<fs::path>{at.place(id) / "tree"});
  CHECK(test::read_file(layers[0] / "d3/f3") == "3");
  CHECK(at.checkouts->ready(id));
  at.store.reads = 0;
  CHECK(at.checkouts->acquire(id, "one") == layers);
  CHECK(at.checkouts->acquire(id, "two") == layers);
  at.start();
  CHECK(at.checkouts->acquire(id, "three") == layers);
  CHECK(at.store.reads == 0);
  CHECK(at.checkouts->verify(id).empty());
}

TEST_CASE("after an edit only what changed is written, and what is gone is one whiteout") {
  Fixture at;
  Node tree = tree_of(100);
  tree.children["gone"].children["deep"].children["x"] = file("x");
  const Hash before = at.put(tree);
  at.checkouts->acquire(before, "one");
  tree.children.erase("gone");
  tree.children["d1"].children["f1"] = file("edited");
  tree.children["d2"].children["f2"].type = EntryType::kExecutable;
  const Hash after = at.put(tree);
  at.store.reads = 0;
  const auto layers = at.checkouts->acquire(after, "two");
  CHECK(layers == std::vector<fs::path>{at.place(after) / "tree", at.place(before) / "tree"});
  CHECK(at.store.reads < 20);
  std::map<std::string, bool> made;
  for (const auto& entry : fs::recursive_directory_iterator(layers[0]))
    made[fs::relative(entry.path(), layers[0])] = entry.is_character_file();
  CHECK(made ==
        std::map<std::string, bool>{{"d1", false}, {"d1/f1", false}, {"d2", false}, {"d2/f2", false}, {"gone", true}});
  struct ::stat info {};
  REQUIRE(::stat((layers[0] / "d2/f2").c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0755);
  REQUIRE(::stat((layers[0] / "gone").c_str(), &info) == 0);
  CHECK(info.st_rdev == ::makedev(0, 0));
  CHECK(at.checkouts->verify(after).empty());
}

TEST_CASE("stacks stay within the limit, and other trees get checkouts of their own") {
  Fixture at;
  std::vector<fs::path> layers;
  std::size_t deepest = 0;
  // Each edit is in other files, so that the last layer is always the nearest by far.
  Node tree = tree_of(600);
  for (int edit = 0; edit < 12; ++edit) {
    for (int i = 0; i < 40; ++i) {
      const int number = edit * 40 + i;
      tree.children["d" + std::to_string(number % 7)].children["f" + std::to_string(number)] = file("edited");
    }
    layers = at.checkouts->acquire(at.put(tree), "run " + std::to_string(edit));
    deepest = std::max(deepest, layers.size());
    CHECK(at.checkouts->verify(at.put(tree)).empty());
  }
  CHECK(deepest == 4);
  Node other;
  for (int i = 0; i < 500; ++i) other.children["other" + std::to_string(i)] = file("other");
  CHECK(at.checkouts->acquire(at.put(other), "other").size() == 1);
  at.limits.layers = 1;
  at.start();
  tree.children["d0"].children["f0"] = file("again");
  CHECK(at.checkouts->acquire(at.put(tree), "flat").size() == 1);
}

TEST_CASE("the base is the cheapest, and the lowest of nearly equal ones") {
  MemoryStore store;
  const Hash first = store_tree(store, tree_of(600));
  const Hash second = store_tree(store, tree_of(600, 100));
  const Hash third = store_tree(store, tree_of(600, 110));
  const LayerBase low{.snapshot = first, .weight = 700 * kEntryWeight};
  const LayerBase high{.snapshot = second, .weight = 700 * kEntryWeight, .below = {first}};
  CHECK(thin_weight(store, low, second, INT64_MAX) == 100 * kEntryWeight + 700);
  CHECK_FALSE(thin_weight(store, low, second, 50 * kEntryWeight));
  CHECK(choose_base(store, {low, high}, third)->snapshot == second);
  CHECK(choose_base(store, {low, high}, store_tree(store, tree_of(600, 5)))->snapshot == first);
  // Ten files over one more layer, or twelve over one less.
  const LayerBase nearly{
      .snapshot = store_tree(store, tree_of(600, 2)), .weight = 700 * kEntryWeight, .below = {first}};
  CHECK(choose_base(store, {nearly, low}, store_tree(store, tree_of(600, 12)))->snapshot == first);
  CHECK_FALSE(choose_base(store, {low, high}, store_tree(store, tree_of(600, 600, "all"))));
  CHECK_FALSE(choose_base(store, {}, third));
  CHECK_FALSE(choose_base(store, {low}, store_tree(store, Node{.children = {{"small", file("tree")}}})));
  store.forget(first);
  CHECK(choose_base(store, {low, high}, third)->snapshot == second);
}

TEST_CASE("several threads ask for one checkout: one makes it, and different ones are made side by side") {
  Fixture at;
  const Hash id = at.put(tree_of(300));
  const Hash other = at.put(Node{.children = {{"only", file("me")}}});
  // The maker of the first is held until the other is done.
  std::atomic<bool> other_done{false};
  at.store.during_read = [&](const Hash& hash) {
    if (hash == id) eventually([&] { return other_done.load(); });
  };
  std::vector<std::vector<fs::path>> got(6);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < got.size(); ++i)
      threads.emplace_back([&, i] { got[i] = at.checkouts->acquire(id, "run " + std::to_string(i)); });
    eventually([&] { return at.store.reads > 0; });
    at.checkouts->acquire(other, "other");
    other_done = true;
  }
  for (const auto& layers : got) CHECK(layers == std::vector<fs::path>{at.place(id) / "tree"});
  CHECK(at.store.reads == 1 + 7 + 300 + 2);  // every tree and file of both, once
}

TEST_CASE("what is used stays, whatever the limits; what was used longest ago goes first, and comes back") {
  Fixture at;
  at.limits.count = 2;
  at.start();
  std::vector<Hash> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(at.put(Node{.children = {{"f", file(std::to_string(i))}}}));
  for (std::size_t i = 0; i < ids.size(); ++i) at.checkouts->acquire(ids[i], std::to_string(i));
  at.checkouts->settle();
  CHECK(at.checkouts->list().size() == 4);
  CHECK_FALSE(at.checkouts->evict(ids[1]));
  at.checkouts->acquire(ids[0], "0");  // used last
  at.checkouts->release("0");
  at.checkouts->release("1");
  CHECK(eventually([&] { return at.names() == std::set<std::string>{ids[2].hex(), ids[3].hex()}; }));
  CHECK(test::read_file(at.checkouts->acquire(ids[0], "0").at(0) / "f") == "0");
  for (const char* owner : {"0", "2", "3", "no such owner"}) at.checkouts->release(owner);
  CHECK(eventually([&] { return at.checkouts->list().size() == 2; }));
  CHECK(at.checkouts->evict(ids[0]));
  CHECK(at.checkouts->evict(ids[0]));
  CHECK_FALSE(fs::exists(at.place(ids[0])));
}

TEST_CASE("a layer is not evicted under another, and the size on the disk is a limit") {
  Fixture at;
  at.limits.bytes = 0;
  at.start();
  const Hash base = at.put(tree_of(200));
  const Hash top = at.put(tree_of(200, 3));
  at.checkouts->acquire(base, "one");
  REQUIRE(at.checkouts->acquire(top, "two").size() == 2);
  at.checkouts->release("one");
  CHECK_FALSE(at.checkouts->evict(base));
  for (const auto& listed : at.checkouts->list()) {
    CHECK(listed.in_use);
    CHECK(listed.bytes >= (listed.snapshot == base ? 200 : 3) * 4096);
    CHECK(listed.below == (listed.snapshot == base ? std::vector<Hash>{} : std::vector<Hash>{base}));
  }
  at.checkouts->settle();
  at.checkouts->release("two");
  CHECK(eventually([&] { return at.names().empty(); }));
}

TEST_CASE("a restarted daemon keeps what its live runs use") {
  Fixture at;
  const Hash id = at.put(tree_of(3));
  at.checkouts->acquire(id, "run");
  at.limits.count = 0;
  at.start();
  at.checkouts->adopt(id, "run");
  at.checkouts->adopt(at.put(tree_of(2)), "another");  // has none: fine
  at.checkouts->settle();
  CHECK_FALSE(at.checkouts->evict(id));
  CHECK(fs::exists(at.place(id) / "tree/d0/f0"));
  at.checkouts->release("run");
  CHECK(eventually([&] { return at.names().empty(); }));
}

TEST_CASE("what a crash left is removed, and links in it are not followed") {
  Fixture at;
  at.checkouts.reset();
  fs::create_directories(at.directory / ".tmp-1-checkout-0/tree/d");
  test::write_file(at.home.path() / "outside/kept", "");
  fs::create_directory_symlink(at.home.path() / "outside", at.directory / ".tmp-1-checkout-0/tree/link");
  fs::create_directory_symlink(at.home.path() / "outside", at.directory / ".tmp-1-link");
  at.start();
  CHECK(eventually([&] { return at.names().empty(); }));
  CHECK(fs::exists(at.home.path() / "outside/kept"));
}

TEST_CASE("one that may not have reached the disk before a reboot is made anew") {
  Fixture at;
  const Hash base = at.put(tree_of(100));
  const Hash top = at.put(tree_of(100, 2));
  at.checkouts->acquire(base, "one");
  REQUIRE(at.checkouts->acquire(top, "two").size() == 2);
  const bool synced = GENERATE(false, true);
  const auto reboot = [&](CheckoutRecord& record) {
    record.boot = "00000000-0000-0000-0000-000000000000";
    record.synced = synced;
  };
  at.checkouts.reset();
  at.rewrite_record(base, reboot);
  std::ofstream(at.place(base) / "tree/d5/f5").close();  // as a power cut leaves files
  at.start();
  CHECK(at.checkouts->ready(base) == synced);
  CHECK(at.checkouts->ready(top) == synced);  // nor is what lies on it
  at.checkouts->acquire(top, "two");
  CHECK(at.checkouts->verify(top).empty() == !synced);
}

TEST_CASE("after a while a checkout is synced, and remembered to be") {
  Fixture at;
  at.limits.sync_after = std::chrono::milliseconds(0);
  at.start();
  const Hash id = at.put(tree_of(5));
  at.checkouts->acquire(id, "run");
  CHECK(eventually([&] { return decode_record(os::read_file(at.place(id) / "record"))->synced; }));
}

TEST_CASE("records that nobody wrote, and checkouts of another version, are not used") {
  Fixture at;
  const Hash id = at.put(tree_of(5));
  at.checkouts->acquire(id, "run");
  const auto damage = GENERATE(0, 1, 2, 3, 4);
  at.checkouts.reset();
  const fs::path record = at.place(id) / "record";
  const std::string good = os::read_file(record);
  if (damage == 0) test::write_file(record, "");
  if (damage == 1) test::write_file(record, good.substr(0, good.size() - 4));
  if (damage == 2) test::write_file(record, "runner checkout 2" + good.substr(17));
  if (damage == 3) fs::remove(record);
  if (damage == 4) os::remove_tree(at.place(id) / "tree");
  at.start();
  CHECK_FALSE(at.checkouts->ready(id));
  SECTION("it is made anew") {
    CHECK(test::read_file(at.checkouts->acquire(id, "run").at(0) / "d0/f0") == "0");
    CHECK(at.checkouts->verify(id).empty());
  }
  SECTION("it goes by itself") {
    at.checkouts->settle();
    CHECK(eventually([&] { return at.names().empty(); }));
  }
  SECTION("one that is just being given up is waited for") {
    at.checkouts->adopt(id, "ending");
    const std::jthread ending([&] { at.checkouts->release("ending"); });
    CHECK(at.checkouts->acquire(id, "another").size() == 1);
    CHECK(at.checkouts->verify(id).empty());
  }
  SECTION("a run that is only about to start does not wait for itself") {
    at.limits.patience = std::chrono::milliseconds(0);
    at.start();
    at.checkouts->adopt(id, "run");  // what recovery does for every run directory, started or not
    CHECK(at.checkouts->acquire(id, "run").size() == 1);
    CHECK(at.checkouts->verify(id).empty());
  }
  SECTION("a live run keeps it, and others are told") {
    at.limits.patience = std::chrono::milliseconds(0);
    at.start();
    at.checkouts->adopt(id, "live");
    at.checkouts->settle();
    try {
      at.checkouts->acquire(id, "another");
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kConflict);
    }
    CHECK(fs::exists(at.place(id)));
    at.checkouts->release("live");
    CHECK(at.checkouts->acquire(id, "another").size() == 1);
  }
}

TEST_CASE("a layer that came back in another shape is no base for what lay on it") {
  Fixture at;
  const Hash base = at.put(tree_of(100));
  const Hash top = at.put(tree_of(100, 2));
  at.checkouts->acquire(base, "one");
  REQUIRE(at.checkouts->acquire(top, "two").size() == 2);
  at.checkouts.reset();
  at.rewrite_record(base, [&](CheckoutRecord& record) { record.below = {at.put(tree_of(1))}; });
  at.start();
  CHECK_FALSE(at.checkouts->ready(top));
}

TEST_CASE("checkouts that somebody removed by hand come back") {
  Fixture at;
  const Hash base = at.put(tree_of(100));
  const Hash top = at.put(tree_of(100, 2));
  at.checkouts->acquire(base, "one");
  REQUIRE(at.checkouts->acquire(top, "two").size() == 2);
  at.checkouts->release("one");
  at.checkouts->release("two");
  os::remove_tree(at.place(base));
  at.checkouts->acquire(top, "three");
  CHECK(at.checkouts->verify(top).empty());
  at.checkouts->acquire(base, "four");
  CHECK(at.checkouts->verify(base).empty());
}

TEST_CASE("a base whose own snapshot is damaged is no base, and no trouble") {
  Fixture at;
  const Hash base = at.put(tree_of(100));
  at.checkouts->acquire(base, "one");
  const Hash other = at.put(tree_of(100, 1));
  at.store.during_read = [&](const Hash& hash) {
    if (hash == base) throw Error(ErrorCode::kInternal, "content is damaged");
  };
  CHECK(at.checkouts->acquire(other, "two").size() == 1);
  at.store.during_read = nullptr;
  CHECK(at.checkouts->verify(other).empty());
}

TEST_CASE("a failure leaves nothing half made and names the file") {
  Fixture at;
  const Hash id = at.put(tree_of(400));
  const auto lost = find_entry(at.memory, id, "d3/f150");
  at.memory.forget(lost->content);
  try {
    at.checkouts->acquire(id, "run");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(std::string(error.message()).find("checking out snapshot " + id.hex().substr(0, 12)) == 0);
    CHECK(std::string(error.message()).find("/tree/d3/f150: ") != std::string::npos);
  }
  CHECK(at.names().empty());
  at.memory.put("150");
  CHECK(at.checkouts->acquire(id, "run").size() == 1);
  CHECK_THROWS_AS(at.checkouts->acquire(Hash{}, "run"), Error);
}

TEST_CASE("on a full disk what nobody uses goes, and the making is tried once more") {
  Fixture at;
  const Hash unused = at.put(Node{.children = {{"f", file("unused")}}});
  const Hash used = at.put(Node{.children = {{"f", file("used")}}});
  const Hash wanted = at.put(Node{.children = {{"f", file("wanted")}}});
  at.checkouts->acquire(unused, "one");
  at.checkouts->acquire(used, "two");
  at.checkouts->release("one");
  at.checkouts->settle();
  int failures = GENERATE(1, 2);
  const bool comes_off = failures == 1;
  const Hash full = sha256("wanted");
  at.store.during_read = [&](const Hash& hash) {
    if (hash == full && failures-- > 0) throw Error(ErrorCode::kNoSpace, "write: No space left on device");
  };
  if (comes_off) {
    CHECK(test::read_file(at.checkouts->acquire(wanted, "three").at(0) / "f") == "wanted");
    CHECK(at.names() == std::set<std::string>{used.hex(), wanted.hex()});
  } else {
    try {
      at.checkouts->acquire(wanted, "three");
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kNoSpace);
      CHECK(std::string(error.message()).find("/tree/f: write: No space left") != std::string::npos);
      CHECK_FALSE(error.hint().empty());
    }
    CHECK(at.names() == std::set<std::string>{used.hex()});
  }
}

TEST_CASE("fsck: each kind of damage to a checkout is found and named") {
  Fixture at;
  Node tree = tree_of(20);
  tree.children["link"] = file("target", EntryType::kSymlink);
  const Hash id = at.put(tree);
  const fs::path root = at.checkouts->acquire(id, "run").at(0);
  test::write_file(root / "d0/f0", "9");
  fs::permissions(root / "d1/f1", fs::perms::owner_exec, fs::perm_options::add);
  fs::remove(root / "d2/f2");
  test::write_file(root / "d3/more", "");
  test::write_file(root / "d4/f4", "longer");
  fs::remove(root / "link");
  fs::create_symlink("tarGet", root / "link");
  os::remove_tree(root / "d5");
  test::write_file(root / "d5", "");
  CHECK(at.checkouts->verify(id) == std::vector<std::string>{"d0/f0: its content differs", "d1/f1: its mode differs",
                                                             "d2/f2: is missing", "d3/more: is not in the snapshot",
                                                             "d4/f4: its size differs", "d5: is no directory",
                                                             "link: its content differs"});
  CHECK_THROWS_AS(at.checkouts->verify(Hash{}), Error);
}

TEST_CASE("very deep trees, and a hundred thousand equal empty files") {
  Fixture at;
  Node deep = file("bottom");
  for (int i = 0; i < 900; ++i) {
    Node outer;
    outer.children["a long name for one level of many"] = std::move(deep);
    deep = std::move(outer);
  }
  const Hash id = at.put(deep);
  at.checkouts->acquire(id, "deep");
  CHECK(at.checkouts->verify(id).empty());
  Node empties;
  for (int i = 0; i < 100'000; ++i) empties.children[std::to_string(i)] = file("");
  const Hash many = at.put(empties);
  const auto layers = at.checkouts->acquire(many, "many");
  CHECK(std::distance(fs::directory_iterator(layers.at(0)), fs::directory_iterator()) == 100'000);
  CHECK(fs::hard_link_count(layers.at(0) / "77") == 1);
}

TEST_CASE("records are read back as written, and nothing else is read") {
  const CheckoutRecord record{.weight = 5, .disk = 7, .boot = "b", .synced = true, .below = {sha256("x"), sha256("y")}};
  const std::string text = encode_record(record);
  const auto back = decode_record(text);
  REQUIRE(back);
  CHECK(encode_record(*back) == text);
  for (std::size_t length = 0; length < text.size(); ++length) CHECK_FALSE(decode_record(text.substr(0, length)));
  CHECK_FALSE(decode_record(text + "x"));
}

}  // namespace runner::snapshot
