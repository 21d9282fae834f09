// Covers core/io/{csv,npy,wav}: whatever happens to a file, it is read or refused with a FileError.

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "../../core/error.h"
#include "../../core/io/csv.h"
#include "../../core/io/npy.h"
#include "../../core/io/wav.h"
#include "../fixtures/csv.h"
#include "../fixtures/npy.h"
#include "../fixtures/wav.h"
#include "../support/extended.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Reads every beginning of `bytes`, and `bytes` with every byte changed, into each of 256 values in
/// the long tier. `read` returns how many elements or cells there were: there cannot be more than
/// bytes.
template <class Read>
void check_damaged(std::string_view bytes, Read read) {
  const TempFolder folder;
  const auto try_to_read = [&](std::string_view damaged) {
    spill(folder / "x", damaged);
    try {
      return read(folder / "x") <= damaged.size();
    } catch (const FileError&) {
      return true;
    }
  };
  bool good = true;
  for (std::size_t n = 0; n < bytes.size(); ++n) good &= try_to_read(bytes.substr(0, n));
  constexpr std::string_view telling("\0\xff\",\n(9", 7);
  const std::size_t values = length(telling.size(), 256);
  std::string damaged(bytes);
  for (char& byte : damaged) {
    const char right = byte;
    for (std::size_t k = 0; k < values; ++k) {
      byte = values > telling.size() ? static_cast<char>(k) : telling[k];
      good &= try_to_read(damaged);
    }
    byte = right;
  }
  CHECK(good);
}

}  // namespace

TEST_CASE("data files: a damaged .csv file is read or refused") {
  for (std::size_t i = 0; i < csv_texts.size(); i += 5) {
    const CsvText& text = csv_texts[i];
    check_damaged(text.text, [&](const auto& path) {
      const Table table = read_csv(path, {.separator = text.separator});
      for (const std::string& name : table.names()) {
        table.text(name);
        try {
          table.column(name, {.missing = Missing::nan});
        } catch (const FileError&) {
        }
      }
      return table.rows() * table.names().size();
    });
  }
}

TEST_CASE("data files: a damaged .npy file is read or refused") {
  for (std::size_t i = 0; i < numpy_files.size(); i += 9) {
    check_damaged(numpy_files[i].bytes, [](const auto& path) { return load_npy(path).numel(); });
  }
}

TEST_CASE("data files: a damaged .wav file is read or refused") {
  for (std::size_t i = 0; i < wav_files.size(); i += 2) {
    check_damaged(wav_files[i].bytes,
                  [](const auto& path) { return read_wav(path).samples.numel(); });
  }
}
