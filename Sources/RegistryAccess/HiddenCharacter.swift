extension Unicode.Scalar {
    /// Whether people cannot see this character, or it ends the line, or turns the direction of what is shown around it.
    ///
    /// What people are shown that somebody else has written has none: it could look like something else.
    package var isHidden: Bool {
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse: true
        default: false
        }
    }
}
