extension Schema {
    /// Sign-in, sessions, tokens, teams, invitations.
    static let accounts: [(String, String)] = []
}
