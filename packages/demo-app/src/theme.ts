// Dark or light: the system's choice, unless the person chose here. Kept in localStorage.

export type Theme = 'system' | 'light' | 'dark'

/** Whether the system asks for dark colours. */
export const systemDark = matchMedia('(prefers-color-scheme: dark)')

const storageKey = 'wepaxos-demo/theme'

export function currentTheme(): Theme {
  try {
    const kept = localStorage.getItem(storageKey)
    return kept === 'light' || kept === 'dark' ? kept : 'system'
  } catch {
    return 'system'
  }
}

export function applyTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
  try {
    if (theme === 'system') localStorage.removeItem(storageKey)
    else localStorage.setItem(storageKey, theme)
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
}

/** What is seen now. */
export function isDark(theme: Theme): boolean {
  return theme === 'system' ? systemDark.matches : theme === 'dark'
}
