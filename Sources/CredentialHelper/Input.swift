import Glibc

/// What the program is given to read.
struct Input: Sendable {
    let descriptor: CInt

    static let standardInput = Input(descriptor: STDIN_FILENO)

    /// How much of an input that is too long is read to its end, so that whoever writes it is not cut off.
    private static let patience = 16 << 20

    /// Reads everything.
    ///
    /// - Parameter limit: the longest input, in bytes.
    /// - Returns: the input, or `nil` if it is longer. A closed descriptor is an empty input.
    func read(atMost limit: Int) -> [UInt8]? {
        var bytes: [UInt8] = []
        var total = 0
        while true {
            var failure: CInt = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: 16 << 10) { buffer, count in
                let got = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                if got < 0 { failure = errno }
                count = max(got, 0)
            }
            if failure == EINTR { continue }
            if chunk.isEmpty { return total > limit ? nil : bytes }
            total += chunk.count
            if total <= limit { bytes += chunk } else { bytes = [] }
            guard total <= Self.patience else { return nil }
        }
    }
}
