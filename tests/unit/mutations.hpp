// Damaged input: mutations of a real one, always the same ones.
#pragma once

#include <functional>
#include <string>

// `rounds` texts, each `seed` with one to five changes: a piece cut out, a piece of it repeated, one of `bytes` put in.
inline void for_each_mutation(const std::string& seed, const std::string& bytes, int rounds,
                              const std::function<void(const std::string&)>& read) {
  unsigned state = 20'261'129;
  const auto random = [&state] { return (state = state * 1'664'525 + 1'013'904'223) >> 8; };
  for (int round = 0; round < rounds; ++round) {
    std::string text = seed;
    for (unsigned changes = 1 + random() % 5; changes > 0 && !text.empty(); --changes) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text.erase(at, 1 + random() % 20);
          break;
        case 1:
          text.insert(at, text.substr(random() % text.size(), random() % 30));
          break;
        default:
          text[at] = bytes[random() % bytes.size()];
      }
    }
    read(text);
  }
}
