// The page's entry: the theme first, so that nothing flashes, then the application.
import './components/app-shell.ts'
import { applyTheme, currentTheme } from './theme.ts'

applyTheme(currentTheme())
