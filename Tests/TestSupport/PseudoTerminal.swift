import Glibc

/// A terminal that nobody looks at, for a program that asks something there.
public final class PseudoTerminal: Sendable {
    /// The path of the end that the program gets.
    public let path: String
    private let typing: Int32
    private let program: Int32

    /// Makes one.
    ///
    /// - Throws: ``UnexpectedEnd`` if there is none to be had.
    public init() throws {
        var (typing, program): (Int32, Int32) = (-1, -1)
        var name = [CChar](repeating: 0, count: 256)
        guard openpty(&typing, &program, &name, nil, nil) == 0 else {
            throw UnexpectedEnd(description: "cannot make a pseudo terminal: errno \(errno)")
        }
        for end in [typing, program] { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        self.typing = typing
        // Kept open: what the terminal is set to is looked at when the program has ended.
        self.program = program
        path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        close(typing)
        close(program)
    }

    /// Whether it shows what is typed.
    public var echoes: Bool {
        var settings = termios()
        return tcgetattr(program, &settings) == 0 && settings.c_lflag & tcflag_t(ECHO) != 0
    }

    /// Types; `\u{3}` is Control-C.
    ///
    /// - Parameter text: what.
    public func type(_ text: String) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { write(typing, $0.baseAddress, $0.count) }
    }
}
