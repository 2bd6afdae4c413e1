import ArgumentParser
import Foundation
import TerminalInput

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
            let answer = TypedSecret.reading {
                FileHandle.standardError.write(Data(words.utf8))
                return readLine(strippingNewline: true)
            }
            // No terminal, or the end of what is typed there.
            guard let answer = answer ?? nil else {
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
}
