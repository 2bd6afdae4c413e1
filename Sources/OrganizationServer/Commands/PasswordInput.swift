import ArgumentParser
import Foundation
import Glibc

/// Where a new password comes from.
struct PasswordInput: ParsableArguments {
    @Flag(help: "Read the password from standard input; without it, it is asked for.")
    var passwordStdin = false

    /// Reads a new password.
    ///
    /// - Parameters:
    ///   - user: whose it is to be.
    ///   - words: what else it may not hold.
    /// - Returns: the password.
    /// - Throws: ``DataDirectory/Fault`` if there is none, or it will not do.
    func read(for user: String, near words: [String]) throws -> Password {
        let password = try read(for: user)
        if let weakness = password.weakness(for: user, near: words) {
            throw DataDirectory.Fault(description: weakness)
        }
        return password
    }

    private func read(for user: String) throws -> Password {
        if passwordStdin {
            guard let line = readLine(strippingNewline: true), !line.isEmpty else {
                throw DataDirectory.Fault(description: "there is no password on standard input")
            }
            return Password(line)
        }
        func ask(_ words: String) throws -> String {
            let answer = Self.readingSilently {
                FileHandle.standardError.write(Data(words.utf8))
                return readLine(strippingNewline: true)
            }
            guard let answer else {
                throw DataDirectory.Fault(description: "there is nobody to ask for a password; use --password-stdin")
            }
            return answer
        }
        let first = try ask("Password of \(user): ")
        guard try ask("Once more: ") == first else {
            throw DataDirectory.Fault(description: "the two passwords differ")
        }
        return Password(first)
    }

    /// The signals by which somebody gives up.
    private static let endings = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]

    /// Reads from the terminal, which does not show what is typed, and is as before afterwards, also if a signal ends the
    /// process.
    ///
    /// - Parameter body: what reads.
    /// - Returns: what the body returns; `nil` if standard input is no terminal.
    private static func readingSilently(_ body: () -> String?) -> String? {
        var settings = termios()
        guard isatty(STDIN_FILENO) == 1, tcgetattr(STDIN_FILENO, &settings) == 0 else { return nil }
        // One that shows nothing anyway stays so.
        guard settings.c_lflag & tcflag_t(ECHO) != 0 else { return body() }
        let handlers = endings.map { number in
            var (ours, before) = (sigaction(), sigaction())
            ours.__sigaction_handler.sa_handler = { number in
                PasswordInput.showTyping()
                signal(number, SIG_DFL)
                // It comes when this handler has returned.
                raise(number)
            }
            sigaction(number, &ours, &before)
            return before
        }
        settings.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
        defer {
            showTyping()
            for (number, before) in zip(endings, handlers) {
                var before = before
                sigaction(number, &before, nil)
            }
        }
        return body()
    }

    /// Has the terminal show again what is typed; all in it may be called by a handler of signals.
    private static func showTyping() {
        var settings = termios()
        if tcgetattr(STDIN_FILENO, &settings) == 0 {
            settings.c_lflag |= tcflag_t(ECHO)
            // Half a password is not for who reads next.
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
        }
        // The end of the line was not shown either.
        _ = write(STDERR_FILENO, "\n", 1)
    }
}
