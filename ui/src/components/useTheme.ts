/** The theme: light, dark, or that of the system. The choice is stored in the browser. */
import { useEffect, useState } from "react";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const STORAGE_KEY = "spandrel.theme";
const CHANGED = "spandrel:theme";

export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState<Theme>(storedTheme);
  useEffect(() => {
    document.documentElement.style.colorScheme = theme === "system" ? "" : theme;
    try {
      localStorage.setItem(STORAGE_KEY, theme);
    } catch {
      // Without storage the theme still applies to this visit.
    }
    window.dispatchEvent(new Event(CHANGED));
  }, [theme]);
  return [theme, setTheme];
}

/** A number that changes when colours may have changed, so that canvases are painted again. */
export function useThemeVersion(): number {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const bump = () => setVersion((n) => n + 1);
    const system = window.matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", bump);
    window.addEventListener(CHANGED, bump);
    return () => {
      system.removeEventListener("change", bump);
      window.removeEventListener(CHANGED, bump);
    };
  }, []);
  return version;
}

/** The value of a CSS colour expression, as a canvas needs it. */
export function resolveColour(expression: string): string {
  const probe = document.createElement("span");
  probe.style.color = expression;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function storedTheme(): Theme {
  try {
    const stored = localStorage.getItem(STORAGE_KEY);
    return THEMES.find((theme) => theme === stored) ?? "system";
  } catch {
    return "system";
  }
}
