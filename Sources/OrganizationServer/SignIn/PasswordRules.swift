import Foundation

extension Password {
    /// Why it is not good enough as a new password of somebody.
    ///
    /// Whoever guesses begins with what many take and with what they know of a person, so that is what the rules are about;
    /// length does the rest.
    ///
    /// - Parameters:
    ///   - user: whose it would be.
    ///   - words: what else anybody would try here: the names of organizations, the server's address.
    /// - Returns: the rule that refuses it, in words; `nil` if it is good enough.
    func weakness(for user: String, near words: [String] = []) -> String? {
        guard (12...256).contains(bytes.count) else { return "a password has 12 to 256 bytes" }
        guard !bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return "a password has no control characters" }
        guard Set(bytes).count >= 5 else { return "a password has at least 5 different characters" }
        let folded = String(decoding: bytes, as: UTF8.self).lowercased()
        guard !folded.contains(user.lowercased()), !folded.contains("password") else {
            return "a password holds neither the name of its owner nor the word itself"
        }
        if let word = (["docker"] + words).first(where: { !$0.isEmpty && folded.contains($0.lowercased()) }) {
            return "a password does not hold \"\(word)\", which everybody would try here"
        }
        let characters = Array(folded)
        if PasswordPattern.isRepetition(characters) { return "a password is not the same thing again and again" }
        if PasswordPattern.isWalk(characters) {
            return "a password is not made of sequences and rows of the keyboard, like \"abcd\", \"1234\" or \"qwer\""
        }
        if PasswordPattern.isCommon(characters) {
            return "this password, or its word without the digits and signs around it, is one of the commonest"
        }
        return nil
    }
}

extension ServerSettings {
    /// What everybody would try as a part of a password, because it is in the server's address: `acme` of
    /// `https://ram.acme.test`.
    var wordsNearPasswords: [String] {
        let authority = publicAddress.description.split(separator: "/").last.map(String.init) ?? ""
        guard let host = PublicAddress.hostAndPort(authority)?.host else { return [] }
        return [host] + host.split(separator: ".").dropLast().map(String.init).filter { $0.count >= 4 }
    }
}

/// What people type who do not want to remember anything.
enum PasswordPattern {
    /// Whether something short is repeated: `abcabcabcabc`, also if the last time is not whole.
    static func isRepetition(_ characters: [Character]) -> Bool {
        guard characters.count >= 2 else { return false }
        return (1...(characters.count / 2)).contains { period in
            (period..<characters.count).allSatisfy { characters[$0] == characters[$0 - period] }
        }
    }

    /// Rows and columns of keyboards, and what one learns by heart.
    private static let lanes: [[Character]] = {
        let forward = [
            "abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl",
            "zxcvbnm",
            "yxcvbnm", "1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik", "9ol", "!@#$%^&*()",
        ]
        return forward.flatMap { [Array($0), $0.reversed()] }
    }()

    /// Whether at least three quarters are runs of three and more on such a lane, or of one character.
    static func isWalk(_ characters: [Character]) -> Bool {
        var covered = 0
        var start = 0
        while start < characters.count {
            let longest = lanes.map { run(characters[start...], on: $0) }.max() ?? 0
            let same = characters[start...].prefix { $0 == characters[start] }.count
            let length = max(longest, same)
            if length >= 3 { covered += length }
            start += max(1, length >= 3 ? length : 1)
        }
        return covered * 4 >= characters.count * 3
    }

    /// How many characters from the first on follow each other on a lane.
    private static func run(_ characters: ArraySlice<Character>, on lane: [Character]) -> Int {
        guard let first = characters.first, let place = lane.firstIndex(of: first) else { return 0 }
        return zip(characters, lane[place...]).prefix { $0.0 == $0.1 }.count
    }

    /// Whether it is in the list, or what is left of it is when everything but letters is taken away at both ends.
    static func isCommon(_ characters: [Character]) -> Bool {
        let word = characters.drop { !$0.isLetter }.reversed().drop { !$0.isLetter }.reversed()
        return common.contains(String(characters)) || common.contains(String(word))
    }

    /// The list; where it comes from is said in its first lines.
    private static let common: Set<String> = {
        let lines = String(decoding: PackageResources.CommonPasswords_txt, as: UTF8.self).split(separator: "\n")
        return Set(lines.filter { !$0.hasPrefix("#") }.map(String.init))
    }()
}
