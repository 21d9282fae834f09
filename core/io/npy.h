#pragma once

#include <filesystem>

#include "../tensor.h"

namespace tapegrad {

/// Reads an array that NumPy's save() has written, or anybody in its .npy format.
///
/// float32, float64 and int32 are taken as they are, float16 becomes float32, and bool and the other
/// integers become int32, if every element fits. Bytes in the other order are swapped, and an array
/// in Fortran's order is transposed: the Tensor has the array's shape and elements.
///
/// Format (NumPy Enhancement Proposal 1; numpy.lib.format), versions 1.0, 2.0 and 3.0: "\x93NUMPY",
/// two bytes for the version, the header's size in 2 bytes (from 2.0 on in 4), a Python dict
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, the elements.
///
/// Throws FileError for another dtype (Python objects, structs, complex numbers, strings, dates),
/// more axes than a Shape has, an integer that does not fit, with its position, and unless the
/// header is that of the format, has at most 10,000 bytes (as NumPy asks for), and the file ends
/// with the last element. No memory is asked for before the file is known to hold that many
/// elements.
Tensor load_npy(const std::filesystem::path& path);

/// Writes a tensor, the bytes that numpy.save() of NumPy 2 writes for it, whole or not at all
/// (write_file_atomically). Throws UsageError for an undefined tensor, FileError as
/// write_file_atomically() does.
void save_npy(const std::filesystem::path& path, const Tensor& tensor);

}  // namespace tapegrad
