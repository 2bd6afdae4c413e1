import Glibc

/// The lines of the decision log over all its files, the oldest first.
///
/// It is read block by block, so that a log of any size takes little memory. A rotation meanwhile loses and repeats
/// nothing: all files are opened at the beginning.
public struct DecisionHistory: ~Copyable {
    /// Some lines.
    public struct Block: Sendable {
        /// The lines without their ends; each is a JSON object as far as its first and last byte tell.
        public let lines: [ArraySlice<UInt8>]
    }

    /// More files than the settings of docker-ramd allow.
    private static let mostFiles = 100
    private static let blockSize = 256 << 10
    /// No record is that long.
    private static let longestLine = 1 << 20

    /// What is still to be read, the oldest last.
    private var descriptors: [CInt] = []
    /// The beginning of a line whose end has not been read yet.
    private var rest: [UInt8] = []

    /// Opens all files that are there and may be read.
    ///
    /// - Parameter path: the newest file; the older ones end in `.1`, `.2`, ...
    public init(path: String) {
        var seen: Set<[UInt64]> = []
        // The newest first: a file that is put aside meanwhile is found twice and not missed.
        for index in 0..<Self.mostFiles {
            let name = index == 0 ? path : "\(path).\(index)"
            let descriptor = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)
            guard descriptor >= 0 else {
                if index > 0, errno == ENOENT { break }
                continue
            }
            var status = stat()
            if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
                seen.insert([UInt64(status.st_dev), UInt64(status.st_ino)]).inserted
            {
                descriptors.append(descriptor)
            } else {
                close(descriptor)
            }
        }
    }

    deinit {
        for descriptor in descriptors { close(descriptor) }
    }

    /// Whether there is nothing to read: there is no log, or the caller may not read it.
    public var isEmpty: Bool { descriptors.isEmpty }

    /// The next lines.
    ///
    /// - Returns: some lines, possibly none; `nil` at the end. What a crash left of a line is passed over.
    public mutating func next() -> Block? {
        guard let descriptor = descriptors.last else { return nil }
        let head = rest.count
        let kept = rest
        var count = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: head + Self.blockSize) { buffer, total in
            for (index, byte) in kept.enumerated() { buffer[index] = byte }
            count = max(0, read(descriptor, buffer.baseAddress.map { $0 + head }, Self.blockSize))
            total = head + count
        }
        if count == 0 {
            close(descriptor)
            descriptors.removeLast()
            rest = []
            return Block(lines: [])
        }
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        rest = lines.popLast().map(Array.init) ?? []
        if rest.count > Self.longestLine { rest = [] }
        lines.removeAll { $0.first != UInt8(ascii: "{") || $0.last != UInt8(ascii: "}") }
        return Block(lines: lines)
    }

    // MARK: - Lines

    /// Whether a line records that something was allowed.
    ///
    /// Quotes within a text are escaped, so what is looked for can stand nowhere else.
    ///
    /// - Parameter line: a line of the log.
    /// - Returns: `false` also for what is no record.
    public static func isAllowed(_ line: ArraySlice<UInt8>) -> Bool {
        position(of: #""verdict":"allow""#, in: line) != nil
    }

    /// The time of a line, as it is written there.
    ///
    /// - Parameter line: a line of the log.
    /// - Returns: the bytes of the time, which sort as times do, or `nil` if the line has none.
    public static func time(of line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        let key: StaticString = #""time":""#
        guard let start = position(of: key, in: line) else { return nil }
        return line.dropFirst(start + key.utf8CodeUnitCount).prefix { $0 != UInt8(ascii: "\"") }
    }

    /// Whether a text is a time as records have it: `2026-11-23T13:45:10.123Z`.
    ///
    /// - Parameter text: the text.
    /// - Returns: whether it has that form; the digits may be any.
    public static func isTime(_ text: String) -> Bool {
        let form = "0000-00-00T00:00:00.000Z"
        return text.utf8.count == form.utf8.count
            && zip(text.utf8, form.utf8).allSatisfy { byte, mark in
                mark == UInt8(ascii: "0") ? (0x30...0x39).contains(byte) : byte == mark
            }
    }

    private static func position(of text: StaticString, in line: ArraySlice<UInt8>) -> Int? {
        line.withUnsafeBytes { line -> Int? in
            let count = text.utf8CodeUnitCount
            guard let start = line.baseAddress, line.count >= count else { return nil }
            return (0...(line.count - count)).first { memcmp(start + $0, text.utf8Start, count) == 0 }
        }
    }
}
